// Ethernet, ARP-free: the headers of the packets a gateway reads and writes, their checksums, and the rules for
// lengths. Everything here is a view over bytes whose length the caller has checked.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "dataplane/base/net.h"
#include "dataplane/base/wire_integer.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/messages.h"

namespace sluice {

inline constexpr uint16_t kEtherTypeIpv4 = 0x0800;
inline constexpr uint16_t kEtherTypeArp = 0x0806;
inline constexpr uint16_t kEtherTypeVlan = 0x8100;
inline constexpr uint16_t kEtherTypeIpv6 = 0x86dd;
inline constexpr uint8_t kProtocolIcmp = 1;
inline constexpr uint8_t kProtocolTcp = 6;
inline constexpr uint8_t kProtocolUdp = 17;
inline constexpr uint8_t kProtocolIpv6Fragment = 44;
inline constexpr uint8_t kProtocolIcmpv6 = 58;
inline constexpr uint8_t kDefaultHopLimit = 64;
inline constexpr uint16_t kIpv6MinimumMtu = 1280;  // RFC 8200, section 5

struct EthernetHeader {
  std::array<uint8_t, 6> destination;
  std::array<uint8_t, 6> source;
  be16 ether_type;
};

struct VlanTag {    // IEEE 802.1Q: between a frame's addresses and its type
  be16 ether_type;  // kEtherTypeVlan
  be16 control;     // priority, 3 bits; drop eligible; VLAN, 12 bits: 0 for a priority alone

  static constexpr uint16_t kVlanMask = 0x0fff;
  uint16_t vlan() const { return control.host() & kVlanMask; }
};

struct Ipv4Header {
  uint8_t version_ihl;
  uint8_t tos;  // DSCP and ECN
  be16 total_length;
  be16 id;
  be16 flags_fragment;  // RFC 791: bit 14 DF, bit 13 MF, 13 bits of offset in units of 8 bytes
  uint8_t ttl;
  uint8_t protocol;
  be16 checksum;
  std::array<uint8_t, 4> source;
  std::array<uint8_t, 4> destination;

  size_t header_size() const { return size_t{4} * (version_ihl & 0x0f); }
  bool has_no_options() const { return version_ihl == 0x45; }  // and is IPv4's
  bool dont_fragment() const { return (flags_fragment.host() & 0x4000) != 0; }
  bool is_fragment() const { return (flags_fragment.host() & 0x3fff) != 0; }
};

struct Ipv6Header {
  be32 version_class_flow;
  be16 payload_length;
  uint8_t next_header;
  uint8_t hop_limit;
  std::array<uint8_t, 16> source;
  std::array<uint8_t, 16> destination;

  uint8_t traffic_class() const { return static_cast<uint8_t>(version_class_flow.host() >> 20); }
};

struct Ipv6FragmentHeader {  // RFC 8200, section 4.5
  uint8_t next_header;
  uint8_t reserved;
  be16 offset_more;  // offset in units of 8 bytes << 3, bit 0: more fragments
  be32 id;

  size_t offset() const { return offset_more.host() & 0xfff8; }  // in bytes
  bool more() const { return (offset_more.host() & 1) != 0; }
};

struct UdpHeader {
  be16 source_port;
  be16 destination_port;
  be16 length;
  be16 checksum;
};

static_assert(sizeof(EthernetHeader) == 14 && sizeof(Ipv4Header) == 20 && sizeof(Ipv6Header) == 40 &&
              sizeof(Ipv6FragmentHeader) == 8 && sizeof(UdpHeader) == 8 && sizeof(VlanTag) == 4);

inline constexpr size_t kMaxLinkHeader = sizeof(EthernetHeader) + sizeof(VlanTag);
inline constexpr size_t kMaxOuterHeaders = kMaxLinkHeader + sizeof(Ipv6Header) + sizeof(UdpHeader);

// What stands in front of an IP packet on the link, tagged unless `vlan` is 0.
struct LinkHeader {
  std::array<std::byte, kMaxLinkHeader> bytes{};
  uint8_t size = 0;
};
LinkHeader make_link_header(const Mac& to, const Mac& from, uint16_t vlan, Family family) noexcept;
// Room for a tag, four bytes, is at the start of `frame`, the frame behind it; afterwards it is tagged.
void tag_frame(Bytes frame, uint16_t vlan) noexcept;

inline Family version_of(ConstBytes packet) noexcept {
  if (packet.empty()) return Family::kNone;
  const auto version = static_cast<uint8_t>(packet[0]) >> 4;
  return version == 4 ? Family::kIpv4 : version == 6 ? Family::kIpv6 : Family::kNone;
}

// Of a whole IP packet.
IpAddress source_of(ConstBytes packet) noexcept;
IpAddress destination_of(ConstBytes packet) noexcept;

// The inner-length rule (protocol.md section 7, steps 12 and 14): how many bytes of `plaintext` are the inner packet;
// the rest is padding. nullopt: not IPv4 or IPv6, too short for its header, or a header that claims more than there is.
// Computed wider than 16 bits: payload_length + 40 must not wrap.
inline std::optional<size_t> inner_length(ConstBytes plaintext) noexcept {
  size_t length = 0;
  switch (version_of(plaintext)) {
    case Family::kIpv4:
      if (plaintext.size() < sizeof(Ipv4Header)) return std::nullopt;
      length = reinterpret_cast<const Ipv4Header*>(plaintext.data())->total_length.host();
      if (length < sizeof(Ipv4Header)) return std::nullopt;
      break;
    case Family::kIpv6:
      if (plaintext.size() < sizeof(Ipv6Header)) return std::nullopt;
      length =
          size_t{reinterpret_cast<const Ipv6Header*>(plaintext.data())->payload_length.host()} + sizeof(Ipv6Header);
      break;
    case Family::kNone:
      return std::nullopt;
  }
  if (length > plaintext.size()) return std::nullopt;
  return length;
}

// A link-local IPv6 address with its scope, an interface's index, in bytes 2 and 3, which are zero on every wire: how a
// socket port and the rest hand both on in the place of one. An index that needs more room is lost.
void embed_scope(std::array<uint8_t, 16>& address, uint32_t scope) noexcept;
uint32_t extract_scope(std::array<uint8_t, 16>& address) noexcept;  // and clears it; 0: none, or not link-local

// Whether the checksum of an IPv4 header is right: of one without options; of any, all of header_size() is there.
[[gnu::always_inline]] inline bool ipv4_sum_holds(const Ipv4Header& header) noexcept {
  return checksum_fold(checksum_of<sizeof header>(&header)) == 0;
}
[[gnu::always_inline]] inline bool ipv4_checksum_holds(const Ipv4Header& header) noexcept {
  if (header.has_no_options()) [[likely]]
    return ipv4_sum_holds(header);
  return checksum_fold(checksum_add({reinterpret_cast<const std::byte*>(&header), header.header_size()})) == 0;
}
uint16_t ipv4_header_checksum(const Ipv4Header& header) noexcept;
// Over pseudo header, UDP header and payload. `l4` starts at the transport header and is as long as the transport data.
uint16_t transport_checksum(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                            ConstBytes l4) noexcept;

// ECN (RFC 6040 as Linux's WireGuard applies it, protocol.md section 13).
constexpr uint8_t kEcnMask = 3, kEcnNotEct = 0, kEcnEct1 = 1, kEcnEct0 = 2, kEcnCe = 3;
constexpr uint8_t ecn_encapsulate(uint8_t inner_ecn) noexcept { return inner_ecn == kEcnCe ? kEcnEct0 : inner_ecn; }
constexpr uint8_t ecn_decapsulate(uint8_t outer_ecn, uint8_t inner_ecn) noexcept {
  if (inner_ecn == kEcnNotEct) return inner_ecn;
  if (outer_ecn == kEcnCe) return kEcnCe;
  if (outer_ecn == kEcnEct1 && inner_ecn == kEcnEct0) return kEcnEct1;
  return inner_ecn;
}
constexpr uint8_t kDscpMask = 0xfc;
inline uint8_t traffic_class_of(ConstBytes packet) noexcept {  // DSCP and ECN; the header's length was checked
  const auto first = static_cast<uint8_t>(packet[0]), second = static_cast<uint8_t>(packet[1]);
  return first >> 4 == 4 ? second : static_cast<uint8_t>(first << 4 | second >> 4);
}

// Sets the ECN bits of an IPv4 (checksum adjusted) or IPv6 header that starts at `packet`; its length was checked.
void set_ecn(Bytes packet, uint8_t ecn) noexcept;
inline uint8_t ecn_of(const Ipv4Header& ip) noexcept { return ip.tos & kEcnMask; }
inline uint8_t ecn_of(const Ipv6Header& ip) noexcept { return ip.traffic_class() & kEcnMask; }
inline uint8_t ecn_of(ConstBytes packet) noexcept { return traffic_class_of(packet) & kEcnMask; }

}  // namespace sluice
