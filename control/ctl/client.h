// One request to a running gateway and its reply (control/api/protocol.h), over its Unix socket. Blocking.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "dataplane/base/result.h"

namespace sluice::ctl {

// The socket of the gateway of that name; for an empty name the only socket in the directory, or the one named like the
// tunnel that is asked for (drop-in mode). The error says what there is to choose from.
Result<std::string> find_socket(const std::string& run_directory, std::string_view gateway, std::string_view tunnel);

// `line` is a request without its newline; the result is the reply without its own. The time limit is for each wait.
Result<std::string> query_gateway(const std::string& socket_path, std::string_view line,
                                  std::chrono::seconds time_limit = std::chrono::seconds(30));

}  // namespace sluice::ctl
