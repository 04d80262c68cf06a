#include "control/wg/outer_frame.h"

#include <rte_mbuf.h>

#include <cstring>

#include "dataplane/pipeline/packet.h"
#include "dataplane/wire/ip.h"

namespace sluice {

OuterDatagram parse_outer_datagram(rte_mbuf* packet) noexcept {
  const ConstBytes bytes = bytes_of(packet);
  OuterDatagram datagram{};
  size_t udp_at = sizeof(Ipv6Header);
  if (version_of(bytes) == Family::kIpv4) {
    const auto& ip = *reinterpret_cast<const Ipv4Header*>(bytes.data());
    datagram.source.address = IpAddress::ipv4(ip.source.data());
    datagram.destination = IpAddress::ipv4(ip.destination.data());
    udp_at = ip.header_size();
  } else {
    const auto& ip = *reinterpret_cast<const Ipv6Header*>(bytes.data());
    datagram.source.address = IpAddress::ipv6(ip.source.data());
    datagram.destination = IpAddress::ipv6(ip.destination.data());
  }
  const auto& udp = *reinterpret_cast<const UdpHeader*>(bytes.data() + udp_at);
  datagram.source.port = udp.source_port.host();
  datagram.destination_port = udp.destination_port.host();
  datagram.payload = bytes.subspan(udp_at + sizeof udp, udp.length.host() - sizeof udp);
  return datagram;
}

rte_mbuf* make_outer_frame(rte_mempool* pool, const OuterRoute& route, ConstBytes message, uint8_t tos) noexcept {
  rte_mbuf* packet = rte_pktmbuf_alloc(pool);
  if (!packet) return nullptr;
  const auto size = static_cast<uint16_t>(route.header_size + message.size());
  auto* frame = reinterpret_cast<std::byte*>(rte_pktmbuf_append(packet, size));
  if (!frame) {
    rte_pktmbuf_free(packet);
    return nullptr;
  }
  std::memcpy(frame, route.header.data(), route.header_size);
  std::memcpy(frame + route.header_size, message.data(), message.size());

  const Bytes ip_packet{frame + route.l3_offset, size_t{size} - route.l3_offset};
  const size_t udp_at = route.header_size - sizeof(UdpHeader) - route.l3_offset;
  const Bytes segment = ip_packet.subspan(udp_at);
  auto& udp = *reinterpret_cast<UdpHeader*>(segment.data());
  if (route.remote.address.is_ipv4()) {
    auto& ip = *reinterpret_cast<Ipv4Header*>(ip_packet.data());
    ip.tos = tos;
    ip.total_length = static_cast<uint16_t>(ip_packet.size());
    ip.checksum = ipv4_header_checksum(ip);
  } else {
    auto& ip = *reinterpret_cast<Ipv6Header*>(ip_packet.data());
    ip.version_class_flow = (6u << 28) | (uint32_t{tos} << 20);
    ip.payload_length = static_cast<uint16_t>(segment.size());
  }
  udp.length = static_cast<uint16_t>(segment.size());
  udp.checksum = 0;
  const uint16_t checksum = transport_checksum(route.local, route.remote.address, kProtocolUdp, segment);
  udp.checksum = checksum == 0 ? uint16_t{0xffff} : checksum;  // RFC 768: zero means "none"
  return packet;
}

}  // namespace sluice
