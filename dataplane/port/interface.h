// A kernel interface that a port takes its frames from (af_packet, af_xdp): looked up and made ready.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/base/result.h"

namespace sluice {

// Sets it up if it is down, and raises its MTU if it is smaller. Gives the interface's index. Errors: no such
// interface, no permission, MTU refused.
Result<unsigned> prepare_interface(const std::string& interface, uint16_t mtu);

// It is up, and so is the link at its other end. An interface that is gone has none.
bool has_carrier(const std::string& interface);

// Keeps Linux out of the traffic of an interface that we only get copies of (af_packet). To Linux the addresses of the
// port's mirror are good on every interface: it would answer ARP and ping here a second time, and queue every datagram
// for our listen ports. While the object lives, IPv4 believes no source here (the routes to all of them lead through
// the mirror: strict reverse-path filter) and IPv6 is off; afterwards both are as they were. An interface that has IPv6
// addresses of the operator's keeps them. Does as much as /proc/sys lets it.
class SilencedInterface {
 public:
  SilencedInterface() = default;
  explicit SilencedInterface(const std::string& interface);
  SilencedInterface(SilencedInterface&& other) noexcept : before_(std::exchange(other.before_, {})) {}
  SilencedInterface& operator=(SilencedInterface&&) = delete;
  ~SilencedInterface();

 private:
  void set(const std::string& path, const std::string& value);
  std::vector<std::pair<std::string, std::string>> before_;  // path in /proc/sys and what stood there
};

// This process's sockets that drivers receive frames from, in the order in which they were opened: of AF_XDP, or of
// AF_PACKET and bound to that interface. DPDK has no interface to wait for these drivers' queues; their sockets can be
// polled. Call it before and after a driver opens its queues: the new ones belong to it.
std::vector<int> frame_sockets(unsigned interface_index);

// Frames for which such a socket's ring had no room, since the last call. Of AF_XDP sockets: 0.
uint32_t take_missed_frames(int socket);

}  // namespace sluice
