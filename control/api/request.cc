#include "control/api/request.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "control/api/protocol.h"

namespace sluice::api {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<std::string_view, Op>, 4> kOperations{
    {{kOpShow, Op::kShow}, {kOpStats, Op::kStats}, {kOpDrops, Op::kDrops}, {kOpReload, Op::kReload}}};

// A typing error in an argument's name is said, not ignored.
Result<void> set_argument(Request& request, const std::string& name, const json& value) {
  std::string* text = request.op != Op::kShow ? nullptr
                      : name == "tunnel"      ? &request.tunnel
                      : name == "peer"        ? &request.peer
                                              : nullptr;
  const bool is_all = request.op == Op::kDrops && name == "all";
  if (text == nullptr && !is_all) return Error{"unknown argument " + name, EINVAL};
  if (text != nullptr ? !value.is_string() : !value.is_boolean())
    return Error{"argument " + name + " has to be " + (is_all ? "true or false" : "a text"), EINVAL};
  if (text != nullptr) *text = value.get<std::string>();
  if (is_all) request.all = value.get<bool>();
  return {};
}

}  // namespace

Result<Request> parse_request(std::string_view line) {
  const json parsed = json::parse(line, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("op") || !parsed["op"].is_string())
    return Error{"not a request: a JSON object with \"op\" on one line is expected", EPROTO};
  const auto name = parsed["op"].get<std::string>();
  const auto* operation =
      std::find_if(kOperations.begin(), kOperations.end(), [&](const auto& known) { return known.first == name; });
  if (operation == kOperations.end()) return Error{"unknown operation " + name, EINVAL};
  Request request;
  request.op = operation->second;
  for (const auto& [key, value] : parsed.items()) {
    if (key == "op") continue;
    if (auto set = set_argument(request, key, value); !set) return Error{name + ": " + set.error().what, EINVAL};
  }
  return request;
}

}  // namespace sluice::api
