// Where a peer that is known by name may be found: the addresses its name stands for, and the one it was last heard
// from if that is none of them. An authentic packet moves a peer wherever it likes; this only says where to go when the
// peer cannot be heard. Pure.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "dataplane/base/net.h"

namespace sluice {

class EndpointChoice {
 public:
  using Usable = std::function<bool(const Endpoint&)>;  // a way leads there

  // The name stands for these addresses now, best first; there is one at least. Where to send from now on; none: stay.
  // A peer that `answers` is left alone, and so is one that was last heard from an address its name never had.
  std::optional<Endpoint> on_resolved(std::vector<Endpoint> addresses, const Endpoint& current, bool answers,
                                      const Usable& usable);

  // `current` does not answer: where to try next, in turn. none: there is nothing else.
  std::optional<Endpoint> on_unanswered(const Endpoint& current, const Usable& usable);

 private:
  bool is_of_name(const Endpoint& endpoint) const;

  std::vector<Endpoint> addresses_;
  Endpoint heard_from_;  // none of addresses_; none: there was no other
};

}  // namespace sluice
