#include "dataplane/port/dpdk_log.h"

#include <rte_errno.h>
#include <rte_log.h>

#include <cstdio>
#include <mutex>
#include <string_view>

namespace sluice {
namespace {

std::mutex guard;  // drivers log from DPDK's interrupt thread too
std::string first_line;

ssize_t keep_line(void*, const char* text, size_t size) {
  std::string_view line(text, size);
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.remove_suffix(1);
  const std::lock_guard lock(guard);
  if (first_line.empty()) first_line = line.substr(0, line.find('\n'));
  return static_cast<ssize_t>(size);
}

}  // namespace

void catch_dpdk_log() {
  static std::once_flag once;
  std::call_once(once, [] {
    FILE* stream = fopencookie(nullptr, "w", {.read = nullptr, .write = keep_line, .seek = nullptr, .close = nullptr});
    if (stream == nullptr) return;
    setvbuf(stream, nullptr, _IOLBF, BUFSIZ);
    rte_openlog_stream(stream);
    rte_log_set_global_level(RTE_LOG_ERR);
  });
}

void forget_dpdk_log() {
  const std::lock_guard lock(guard);
  first_line.clear();
}

std::string dpdk_log() {
  const std::lock_guard lock(guard);
  return first_line;
}

std::string with_dpdk_reason(const std::string& what, int error) {
  std::string reason = dpdk_log();
  if (reason.empty() && error > 0) reason = rte_strerror(error);
  return reason.empty() ? what : what + " (" + reason + ")";
}

}  // namespace sluice
