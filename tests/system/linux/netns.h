// For tests against the real kernel: each test gets a network namespace of its own, which goes with the process.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "control/linux/netlink.h"
#include "control/linux/network_model.h"

namespace sluice::test {

class NetnsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "no network namespace of our own: " << std::strerror(errno);
    if (::access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "/dev/net/tun: " << std::strerror(errno);
    if (ip("-V").empty()) GTEST_SKIP() << "no ip command (iproute2)";
    auto opened = Netlink::open();
    ASSERT_TRUE(opened) << opened.error().what;
    netlink_ = std::move(*opened);
  }

  // What `ip ARGUMENTS` prints, in this namespace.
  static std::string ip(const std::string& arguments) {
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(("ip " + arguments + " 2>&1").c_str(), "r"), ::pclose);
    std::string text;
    std::array<char, 4096> buffer;
    while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe.get())) text.append(buffer.data(), n);
    return text;
  }

  static bool readable(int fd, std::chrono::milliseconds timeout) {
    pollfd p{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&p, 1, static_cast<int>(timeout.count())) > 0;
  }

  // Follows the kernel until the model says so; false after five seconds.
  [[nodiscard]] bool eventually(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!netlink_->is_settled() || !condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      if (!readable(netlink_->fd(), std::chrono::milliseconds(100))) continue;
      if (auto received = netlink_->receive(model_); !received) {
        ADD_FAILURE() << received.error().what;
        return false;
      }
    }
    return true;
  }
  [[nodiscard]] bool settled() {
    return eventually([] { return true; });
  }

  std::unique_ptr<Netlink> netlink_;
  NetworkModel model_;
};

}  // namespace sluice::test
