#include "control/gateway/socket_routes.h"

namespace sluice {

Result<void> SocketRoutes::listen(uint16_t port) {
  auto opened = port_.open(port);
  listening_ = listening_ || opened.ok();
  return opened;
}

void SocketRoutes::close() {
  port_.close();
  listening_ = false;
}

OuterRoute SocketRoutes::resolve(const OuterQuery& query) { return look_up(query); }

OuterRoute SocketRoutes::look_up(const OuterQuery& query) const {
  if (port_.has(query.remote.address.family))
    return socket_route(port_.id(), query.remote, query.local, query.listen_port);
  OuterRoute nowhere;
  nowhere.remote = query.remote;
  return nowhere;
}

Result<void> SocketRoutes::claim_port(TunnelId, uint16_t listen_port) {
  return listening_ ? listen(listen_port) : probe_udp_port(listen_port);
}

}  // namespace sluice
