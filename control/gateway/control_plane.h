// The gateway's control thread: Linux as its control plane (mirrors, routes, neighbours) beside the tunnels.
#pragma once

#include <map>

#include "control/gateway/control_loop.h"
#include "control/gateway/endpoint_names.h"
#include "control/gateway/linux_network.h"
#include "control/gateway/port_links.h"
#include "control/gateway/slow_path.h"

namespace sluice {

class ControlPlane final : public ControlLoop {
 public:
  struct Parts {  // everything here outlives it
    EventLoop& loop;
    const Clock& clock;
    Dataplane& dataplane;
    Wireguard& wireguard;
    LinuxNetwork& network;
    SlowPath& slow_path;
    Publisher& publisher;
    EndpointNames& names;
  };
  explicit ControlPlane(const Parts& parts)
      : ControlLoop({parts.loop, parts.clock, parts.dataplane, parts.wireguard, parts.publisher}),
        parts_(parts),
        links_(parts.dataplane, parts.network, parts.clock) {}

 private:
  bool look_after_host() override;
  MonoTime next_host_deadline() const override;
  void follow_linux();
  void follow_interfaces();
  void follow_route_mtus();

  Parts parts_;
  PortLinks links_;
  std::map<TunnelId, uint16_t> derived_mtus_;  // as last given to Linux
};

}  // namespace sluice
