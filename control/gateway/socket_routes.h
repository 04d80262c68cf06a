// Ways out over the host's own UDP sockets: Linux routes the outer packets, so every endpoint has one; all that is left
// to choose is the source address, and only to keep the one that a peer talks to. Control thread only.
#pragma once

#include "control/wg/outer_routes.h"
#include "dataplane/port/udp_socket.h"

namespace sluice {

class SocketRoutes final : public OuterRoutes {
 public:
  explicit SocketRoutes(UdpSocketPort& port) : port_(port) {}

  // The sockets are open while the tunnel is up.
  Result<void> listen(uint16_t port);
  void close();

  OuterRoute resolve(const OuterQuery& query) override;
  OuterRoute look_up(const OuterQuery& query) const override;
  uint32_t scope_of(PortId) const noexcept override { return 0; }
  // While the tunnel is down nothing is bound, but that the port is free is found out all the same.
  Result<void> claim_port(TunnelId tunnel, uint16_t listen_port) override;
  void set_mark(TunnelId, uint32_t mark) override { port_.set_mark(mark); }

 private:
  UdpSocketPort& port_;
  bool listening_ = false;
};

}  // namespace sluice
