// A network namespace of its own for the calling thread while the object lives; gone with everything in it afterwards.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

namespace sluice::test {

class NetNamespace {
 public:
  NetNamespace() : before_(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
    if (before_ >= 0 && unshare(CLONE_NEWNET) != 0) why_not_ = std::strerror(errno);
  }
  ~NetNamespace() {
    if (before_ < 0) return;
    if (why_not_.empty() && setns(before_, CLONE_NEWNET) != 0) std::abort();
    close(before_);
  }
  NetNamespace(const NetNamespace&) = delete;
  NetNamespace& operator=(const NetNamespace&) = delete;

  // Empty if the thread is in it; else why this process may not have one (for GTEST_SKIP).
  const std::string& why_not() const { return why_not_; }
  bool run(const std::string& command) const { return std::system(command.c_str()) == 0; }

 private:
  int before_;
  std::string why_not_;
};

}  // namespace sluice::test
