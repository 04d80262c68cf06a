#include "control/wg/endpoint_choice.h"

#include <algorithm>

namespace sluice {

bool EndpointChoice::is_of_name(const Endpoint& endpoint) const {
  return std::find(addresses_.begin(), addresses_.end(), endpoint) != addresses_.end();
}

std::optional<Endpoint> EndpointChoice::on_resolved(std::vector<Endpoint> addresses, const Endpoint& current,
                                                    bool answers, const Usable& usable) {
  const bool first_answer = addresses_.empty();
  const bool was_of_name = is_of_name(current);
  addresses_ = std::move(addresses);
  if (is_of_name(current)) return std::nullopt;
  if (!first_answer && (answers || !was_of_name)) return std::nullopt;
  const auto way = std::find_if(addresses_.begin(), addresses_.end(), usable);
  return way != addresses_.end() ? *way : addresses_.front();
}

std::optional<Endpoint> EndpointChoice::on_unanswered(const Endpoint& current, const Usable& usable) {
  if (!is_of_name(current)) heard_from_ = current;
  std::vector<Endpoint> all = addresses_;
  if (!heard_from_.is_none() && !is_of_name(heard_from_)) all.push_back(heard_from_);
  auto at = std::find(all.begin(), all.end(), current);
  if (at == all.end()) return std::nullopt;
  std::rotate(all.begin(), at + 1, all.end());  // `current` is the last now
  all.pop_back();
  at = std::find_if(all.begin(), all.end(), usable);
  return at != all.end() ? std::optional(*at) : std::nullopt;
}

}  // namespace sluice
