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

OuterRoute SocketRoutes::resolve(const Endpoint& remote, const IpAddress& local, uint16_t listen_port) {
  return look_up(remote, local, listen_port);
}

OuterRoute SocketRoutes::look_up(const Endpoint& remote, const IpAddress& local, uint16_t listen_port) const {
  if (port_.has(remote.address.family)) return socket_route(port_.id(), remote, local, listen_port);
  OuterRoute nowhere;
  nowhere.remote = remote;
  return nowhere;
}

Result<void> SocketRoutes::claim_port(TunnelId, uint16_t listen_port) {
  return listening_ ? listen(listen_port) : probe_udp_port(listen_port);
}

}  // namespace sluice
