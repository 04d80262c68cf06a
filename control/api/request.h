// A line of the gateway's own API (protocol.h), understood: what is asked, with its arguments checked. No daemon behind
// it.
#pragma once

#include <string>
#include <string_view>

#include "dataplane/base/result.h"

namespace sluice::api {

enum class Op { kShow, kStats, kDrops, kReload };

struct Request {
  Op op = Op::kShow;
  std::string tunnel, peer;  // show: empty means all
  bool all = false;          // drops
};

// `line` without its newline. Errors say what is wrong with it; code EPROTO: it is no request at all, close the
// connection.
Result<Request> parse_request(std::string_view line);

}  // namespace sluice::api
