#include "dataplane/wire/ip.h"

#include <cstring>

namespace sluice {

IpAddress source_of(ConstBytes packet) noexcept {
  if (version_of(packet) == Family::kIpv4)
    return IpAddress::ipv4(reinterpret_cast<const Ipv4Header*>(packet.data())->source.data());
  return IpAddress::ipv6(reinterpret_cast<const Ipv6Header*>(packet.data())->source.data());
}

IpAddress destination_of(ConstBytes packet) noexcept {
  if (version_of(packet) == Family::kIpv4)
    return IpAddress::ipv4(reinterpret_cast<const Ipv4Header*>(packet.data())->destination.data());
  return IpAddress::ipv6(reinterpret_cast<const Ipv6Header*>(packet.data())->destination.data());
}

namespace {

bool is_link_local(const std::array<uint8_t, 16>& a) noexcept { return a[0] == 0xfe && (a[1] & 0xc0) == 0x80; }

}  // namespace

void embed_scope(std::array<uint8_t, 16>& address, uint32_t scope) noexcept {
  if (!is_link_local(address) || scope > UINT16_MAX) return;
  address[2] = static_cast<uint8_t>(scope >> 8);
  address[3] = static_cast<uint8_t>(scope);
}

uint32_t extract_scope(std::array<uint8_t, 16>& address) noexcept {
  if (!is_link_local(address)) return 0;
  const auto scope = static_cast<uint32_t>(address[2] << 8 | address[3]);
  address[2] = address[3] = 0;
  return scope;
}

uint16_t ipv4_header_checksum(const Ipv4Header& header) noexcept {
  Ipv4Header copy = header;
  copy.checksum = 0;
  const auto* options = reinterpret_cast<const std::byte*>(&header) + sizeof header;
  const size_t options_size = header.header_size() > sizeof header ? header.header_size() - sizeof header : 0;
  return checksum_fold(checksum_add({options, options_size}, checksum_add(std::as_bytes(std::span(&copy, 1)))));
}

uint16_t transport_checksum(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                            ConstBytes l4) noexcept {
  struct {
    be32 length;
    be32 protocol;
  } tail{be32(static_cast<uint32_t>(l4.size())), be32(protocol)};
  // The IPv4 pseudo header has the same sum as this one: its fields are narrower, but the words are the same.
  uint32_t sum = checksum_add(std::as_bytes(std::span(source.bytes.data(), source.size())));
  sum = checksum_add(std::as_bytes(std::span(destination.bytes.data(), destination.size())), sum);
  sum = checksum_add(std::as_bytes(std::span(&tail, 1)), sum);
  return checksum_fold(checksum_add(l4, sum));
}

void set_ecn(Bytes packet, uint8_t ecn) noexcept {
  if (version_of(packet) == Family::kIpv4) {
    auto* ip = reinterpret_cast<Ipv4Header*>(packet.data());
    const auto before = static_cast<uint16_t>(ip->version_ihl << 8 | ip->tos);
    ip->tos = static_cast<uint8_t>((ip->tos & ~kEcnMask) | ecn);
    const auto after = static_cast<uint16_t>(ip->version_ihl << 8 | ip->tos);
    ip->checksum = checksum_adjust(ip->checksum.host(), before, after);
  } else {
    const auto low = static_cast<uint8_t>(packet[1]);
    packet[1] = static_cast<std::byte>((low & 0xcf) | (ecn << 4));
  }
}

LinkHeader make_link_header(const Mac& to, const Mac& from, uint16_t vlan, Family family) noexcept {
  const EthernetHeader ethernet{.destination = to.bytes,
                                .source = from.bytes,
                                .ether_type = be16(family == Family::kIpv6 ? kEtherTypeIpv6 : kEtherTypeIpv4)};
  LinkHeader header;
  header.size = sizeof ethernet;
  if (vlan == 0) {
    std::memcpy(header.bytes.data(), &ethernet, sizeof ethernet);
    return header;
  }
  std::memcpy(header.bytes.data() + sizeof(VlanTag), &ethernet, sizeof ethernet);
  tag_frame(header.bytes, vlan);
  header.size = kMaxLinkHeader;
  return header;
}

void tag_frame(Bytes frame, uint16_t vlan) noexcept {
  constexpr size_t kAddresses = offsetof(EthernetHeader, ether_type);
  const VlanTag tag{.ether_type = be16(kEtherTypeVlan), .control = be16(vlan)};
  std::memmove(frame.data(), frame.data() + sizeof tag, kAddresses);
  std::memcpy(frame.data() + kAddresses, &tag, sizeof tag);
}

}  // namespace sluice
