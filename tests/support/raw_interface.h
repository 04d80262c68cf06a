// A test's end of a link: sends and receives frames on a kernel interface of the calling thread's namespace.
#pragma once

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sluice::test {

class RawInterface {
 public:
  explicit RawInterface(const std::string& interface) : fd_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    ok_ = fd_ >= 0 && bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~RawInterface() {
    if (fd_ >= 0) close(fd_);
  }
  RawInterface(const RawInterface&) = delete;
  RawInterface& operator=(const RawInterface&) = delete;

  bool ok() const { return ok_; }
  bool send(std::span<const std::byte> frame) const {
    return ::send(fd_, frame.data(), frame.size(), 0) == static_cast<ssize_t>(frame.size());
  }
  // The next frame that others sent, within the time.
  std::optional<std::vector<std::byte>> receive(int timeout_ms = 2000) const {
    for (;;) {
      pollfd p{fd_, POLLIN, 0};
      if (poll(&p, 1, timeout_ms) != 1) return std::nullopt;
      std::vector<std::byte> frame(65536);
      sockaddr_ll from{};
      socklen_t size = sizeof from;
      const ssize_t n = recvfrom(fd_, frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (n < 0) return std::nullopt;
      if (from.sll_pkttype == PACKET_OUTGOING) continue;
      frame.resize(static_cast<size_t>(n));
      return frame;
    }
  }

 private:
  int fd_;
  bool ok_;
};

}  // namespace sluice::test
