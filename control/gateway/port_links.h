// Cables and devices come and go without a packet that says so: looks at every port now and then, gives its mirror the
// carrier that the port has, and lets go of a NIC that is unplugged: its mirror and those of its VLANs stay, without a
// carrier. Control thread only.
#pragma once

#include <map>

#include "control/gateway/linux_network.h"
#include "dataplane/worker/dataplane.h"

namespace sluice {

class PortLinks {
 public:
  PortLinks(Dataplane& dataplane, LinuxNetwork& network, const Clock& clock)
      : dataplane_(dataplane), network_(network), clock_(clock) {}

  void turn();
  MonoTime next_deadline() const noexcept { return next_look_; }

 private:
  static constexpr Nanoseconds kInterval = std::chrono::milliseconds(500);

  void let_go(const Port& port);
  void follow(const Port& port, Mirror& mirror);

  Dataplane& dataplane_;
  LinuxNetwork& network_;
  const Clock& clock_;
  std::map<PortId, bool> carriers_;  // as last given to Linux, where a new interface has one
  MonoTime next_look_;               // never: none so far
};

}  // namespace sluice
