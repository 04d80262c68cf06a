// How a peer's outer packets leave: from an endpoint and what Linux says to the prebuilt header of OuterRoute. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "control/linux/fib_builder.h"
#include "control/linux/network_model.h"
#include "dataplane/base/net.h"
#include "dataplane/forward/flow_hash.h"
#include "dataplane/session/outer_route.h"

namespace sluice {

struct OuterResolution {
  OuterRoute route;
  // The neighbour the route depends on: ask Linux to resolve it when the state is kUnresolved, keep it fresh when it is
  // kReady, resolve again when it changes. None for kNoRoute.
  std::optional<NeighbourKey> neighbour;
};

struct OuterRequest {
  Endpoint remote;
  IpAddress
      cached_local;  // source that the peer's packets were last sent to; used while it is still ours. none: choose
  uint16_t listen_port = 0;
  uint32_t mark = 0;  // the tunnel's, for the policy rules
  FlowHash flows{};   // chooses among several next hops
};

// Routes through our own tunnels do not exist here: a default route into the tunnel does not swallow the tunnel's own
// packets, a tunnel never carries itself. Only ports carry outer packets: an endpoint behind an interface that sluice
// does not own (a management NIC), or one that is our own address, has no route.
OuterResolution resolve_outer(const NetworkModel& model, const OwnInterfaces& own, const OuterRequest& request);

// The source Linux would choose for packets to `destination` out of `interface` by way of `next_hop`: an address of the
// next hop's subnet, else the interface's first in the right scope, else any other interface's. none: there is none.
IpAddress select_source(const NetworkModel& model, int interface, const IpAddress& next_hop,
                        const IpAddress& destination);

}  // namespace sluice
