// What the WireGuard side of control asks the network side: how outer packets reach an endpoint. Implemented over
// Linux's routes and neighbours (control/linux); a test passes its own.
#pragma once

#include <cstdint>

#include "dataplane/base/net.h"
#include "dataplane/base/result.h"
#include "dataplane/base/strong.h"
#include "dataplane/session/outer_route.h"

namespace sluice {

struct OuterQuery {
  Endpoint remote;
  IpAddress local;  // the address to answer from if it is still ours, else one is chosen. none: choose
  uint16_t listen_port = 0;
  uint32_t mark = 0;  // the tunnel's fwmark, which policy rules may ask for
};

class OuterRoutes {
 public:
  virtual ~OuterRoutes() = default;

  // The way as it stands now. If the next hop is not resolved this asks for it, and on_routes_changed() of the
  // WireGuard side will be called.
  virtual OuterRoute resolve(const OuterQuery& query) = 0;

  // The same without asking for anything: for answers to senders that have not proved who they are, so that they cannot
  // make us look for neighbours.
  virtual OuterRoute look_up(const OuterQuery& query) const = 0;

  // What link-local IPv6 addresses on that port carry as their scope (Endpoint::scope); 0: no such port, or
  // one whose datagrams say it themselves.
  virtual uint32_t scope_of(PortId port) const noexcept = 0;

  // Takes UDP port `listen_port` of this host for the tunnel, both families, in place of the one it had, so that no
  // other program of the gateway uses it. Error (EADDRINUSE): one does; the tunnel keeps what it had.
  virtual Result<void> claim_port(TunnelId tunnel, uint16_t listen_port) = 0;

  // The mark (fwmark) of outer packets that Linux routes; 0: none. Nothing where Linux does not route them.
  virtual void set_mark(TunnelId, uint32_t) {}
};

}  // namespace sluice
