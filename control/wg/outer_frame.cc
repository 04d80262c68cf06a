#include "control/wg/outer_frame.h"

#include <rte_mbuf.h>

#include <cstring>

#include "dataplane/wire/ip.h"

namespace sluice {

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
