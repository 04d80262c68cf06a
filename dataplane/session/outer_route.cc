#include "dataplane/session/outer_route.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "dataplane/session/slab.h"

namespace sluice {
namespace {

constinit Slab all_routes(sizeof(OuterRoute));

template <class T>
void append(OuterRoute& route, const T& header) {
  std::memcpy(route.header.data() + route.header_size, &header, sizeof header);
  route.header_size = static_cast<uint8_t>(route.header_size + sizeof header);
}

void append_ip(OuterRoute& route) {
  const IpAddress &source = route.local, &destination = route.remote.address;
  if (destination.is_ipv4()) {
    Ipv4Header ip{};  // DF stays clear: outer packets may be fragmented on their way (protocol.md, section 13)
    ip.version_ihl = 0x45;
    ip.ttl = kDefaultHopLimit;
    ip.protocol = kProtocolUdp;
    std::copy_n(source.bytes.begin(), 4, ip.source.begin());
    std::copy_n(destination.bytes.begin(), 4, ip.destination.begin());
    append(route, ip);
    route.ipv4_sum = checksum_fold_to_16(checksum_add(std::as_bytes(std::span(&ip, 1))));
  } else {
    Ipv6Header ip{};
    ip.version_class_flow = 6u << 28;
    ip.next_header = kProtocolUdp;
    ip.hop_limit = kDefaultHopLimit;
    ip.source = source.bytes;
    ip.destination = destination.bytes;
    append(route, ip);
  }
}

}  // namespace

void* OuterRoute::operator new(size_t) { return all_routes.allocate(); }
void OuterRoute::operator delete(void* route) noexcept { all_routes.release(route); }

void append_datagram_headers(OuterRoute& route, uint16_t listen_port) noexcept {
  append_ip(route);
  const UdpHeader udp{.source_port = be16(listen_port),
                      .destination_port = be16(route.remote.port),
                      .length = be16(0),
                      .checksum = be16(0)};
  append(route, udp);
  const be32 protocol(kProtocolUdp);
  const unsigned size = route.remote.address.size();
  uint32_t sum = checksum_add(std::as_bytes(std::span(route.local.bytes.data(), size)));
  sum = checksum_add(std::as_bytes(std::span(route.remote.address.bytes.data(), size)), sum);
  sum = checksum_add(std::as_bytes(std::span(&protocol, 1)), sum);
  route.udp_sum = checksum_fold_to_16(checksum_add(std::as_bytes(std::span(&udp, 1)), sum));
}

OuterRoute socket_route(PortId port, const Endpoint& remote, const IpAddress& local, uint16_t listen_port) noexcept {
  OuterRoute route;
  route.remote = remote;
  if (local.family == remote.address.family) route.local = local;
  route.state = OuterRoute::State::kReady;
  route.port = port;
  route.by_socket = true;
  if (remote.address.is_ipv6()) embed_scope(route.remote.address.bytes, remote.scope);
  append_datagram_headers(route, listen_port);
  route.remote = remote;
  return route;
}

}  // namespace sluice
