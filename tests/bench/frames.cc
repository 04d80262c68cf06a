#include "tests/bench/frames.h"

#include <cstring>

#include "dataplane/wire/ip.h"

namespace sluice::bench {

void write_datagram(Bytes packet, const Endpoint& from, const Endpoint& to) {
  auto& ip = *reinterpret_cast<Ipv4Header*>(packet.data());
  ip = {.version_ihl = 0x45,
        .tos = 0,
        .total_length = be16(static_cast<uint16_t>(packet.size())),
        .id = be16(0),
        .flags_fragment = be16(0),
        .ttl = kDefaultHopLimit,
        .protocol = kProtocolUdp,
        .checksum = be16(0)};
  std::memcpy(&ip.source, from.address.bytes.data(), sizeof ip.source);
  std::memcpy(&ip.destination, to.address.bytes.data(), sizeof ip.destination);
  ip.checksum = be16(ipv4_header_checksum(ip));
  const Bytes l4 = packet.subspan(sizeof ip);
  auto& udp = *reinterpret_cast<UdpHeader*>(l4.data());
  udp = {be16(from.port), be16(to.port), be16(static_cast<uint16_t>(l4.size())), be16(0)};
  const uint16_t sum = transport_checksum(from.address, to.address, kProtocolUdp, l4);
  udp.checksum = be16(sum != 0 ? sum : uint16_t{0xffff});
}

void write_ethernet(std::byte* at, const Mac& to, const Mac& from) {
  const EthernetHeader header{to.bytes, from.bytes, be16(kEtherTypeIpv4)};
  std::memcpy(at, &header, sizeof header);
}

IpAddress ipv4(uint32_t address) {
  const uint32_t bytes = __builtin_bswap32(address);
  return IpAddress::ipv4(&bytes);
}

}  // namespace sluice::bench
