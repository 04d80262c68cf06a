// Replies of the daemon (control/api/protocol.h) as text for people. All take the reply's JSON text; what is not of the
// documented shape gives an error, never a crash.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dataplane/base/result.h"

namespace sluice::ctl {

Result<std::string> format_show(std::string_view reply, int64_t now);       // `now`: unix seconds, for ages
Result<std::string> format_show_peer(std::string_view reply, int64_t now);  // each peer as a block with all there is
Result<std::string> format_stats(std::string_view reply);
Result<std::string> format_drops(std::string_view reply);
Result<std::string> format_reload(std::string_view reply);
Result<std::string> format_json(std::string_view reply);  // for scripts: indented, without the envelope

// An error reply as an Error: its text, and below it the lines of "errors", if any.
Result<void> check_reply(std::string_view reply);

}  // namespace sluice::ctl
