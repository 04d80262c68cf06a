// Any line is either a request with nothing but known arguments, or an error in one line that says so. The input is
// taken as it is, and put into the places of a well-formed request.
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "control/api/request.h"

namespace {

using namespace sluice;

void check(std::string_view line) {
  const auto request = api::parse_request(line);
  if (!request) {
    const Error& error = request.error();
    if (error.what.empty() || (error.code != EPROTO && error.code != EINVAL)) std::abort();
    return;
  }
  const bool show = request->op == api::Op::kShow, drops = request->op == api::Op::kDrops;
  if (!show && !(request->tunnel.empty() && request->peer.empty())) std::abort();
  if (!drops && request->all) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  check(text);
  for (const char* op : {"show", "drops", "stats", "reload"}) {
    const std::string begin = std::string("{\"op\":\"") + op + "\",";
    check(begin + text + "}");
    check(begin + "\"all\":" + text + "}");
    check(begin + "\"peer\":\"" + text + "\",\"tunnel\":\"" + text + "\"}");
  }
  return 0;
}
