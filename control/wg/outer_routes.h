// What the WireGuard side of control asks the network side: how outer packets reach an endpoint. Implemented over
// Linux's routes and neighbours (control/linux); a test passes its own.
#pragma once

#include <cstdint>

#include "dataplane/base/net.h"
#include "dataplane/session/outer_route.h"

namespace sluice {

class OuterRoutes {
 public:
  virtual ~OuterRoutes() = default;

  // The way to `remote` as it stands now. `local`: the address to answer from if it is still ours, else one is chosen
  // (none: choose). If the next hop is not resolved this asks for it, and on_routes_changed() of the WireGuard side
  // will be called.
  virtual OuterRoute resolve(const Endpoint& remote, const IpAddress& local, uint16_t listen_port) = 0;
};

}  // namespace sluice
