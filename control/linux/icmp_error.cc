#include "control/linux/icmp_error.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "dataplane/wire/ip.h"

namespace sluice {
namespace {

// Both families' errors begin alike: type, code, checksum, and four bytes that mean the MTU or nothing.
struct IcmpHeader {
  uint8_t type;
  uint8_t code;
  be16 checksum;
  be32 value;
};
static_assert(sizeof(IcmpHeader) == 8);

constexpr size_t kIpv4Quote = 576;   // RFC 1812 section 4.3.2.3: the whole message
constexpr size_t kIpv6Quote = 1280;  // RFC 4443 section 2.4 (c): the whole message

template <class T>
const T& at(ConstBytes packet, size_t offset) {
  return *reinterpret_cast<const T*>(packet.data() + offset);
}

struct TypeAndCode {
  uint8_t type, code;
};
constexpr std::array<TypeAndCode, 5> kIpv4Types{{{11, 0}, {3, 0}, {3, 1}, {3, 13}, {3, 4}}};  // by IcmpError
constexpr std::array<TypeAndCode, 5> kIpv6Types{{{3, 0}, {1, 0}, {1, 3}, {1, 1}, {2, 0}}};

// RFC 1122 section 3.2.2: the ICMP messages that are errors; and redirects, which RFC 1812 counts with them.
bool is_icmp_error(uint8_t type) { return type == 3 || type == 4 || type == 5 || type == 11 || type == 12; }

// One host that may be told something: not multicast, broadcast, class E, loopback or "this network" (RFC
// 1812 4.3.2.7).
bool is_one_host(const std::array<uint8_t, 4>& a) { return a[0] != 0 && a[0] != 127 && a[0] < 224; }

bool may_answer_ipv4(ConstBytes packet) {
  if (packet.size() < sizeof(Ipv4Header)) return false;
  const auto& ip = at<Ipv4Header>(packet, 0);
  const size_t header = ip.header_size();
  if (header < sizeof ip || packet.size() < header) return false;
  if ((ip.flags_fragment.host() & 0x1fff) != 0) return false;
  if (!is_one_host(ip.source) || !is_one_host(ip.destination)) return false;
  if (ip.protocol != kProtocolIcmp) return true;
  return packet.size() > header && !is_icmp_error(at<uint8_t>(packet, header));
}

// What follows the extension headers: the upper protocol and where it starts. nullopt: cut short, or not the first
// fragment.
struct UpperLayer {
  uint8_t protocol;
  size_t offset;
};
std::optional<UpperLayer> skip_extensions(ConstBytes packet) {
  constexpr uint8_t kHopByHop = 0, kRouting = 43, kFragment = 44, kAuthentication = 51, kDestination = 60;
  UpperLayer upper{at<Ipv6Header>(packet, 0).next_header, sizeof(Ipv6Header)};
  for (;;) {
    const uint8_t kind = upper.protocol;
    if (kind != kHopByHop && kind != kRouting && kind != kFragment && kind != kAuthentication && kind != kDestination) {
      return upper;
    }
    if (packet.size() < upper.offset + 8) return std::nullopt;
    if (kind == kFragment && (at<be16>(packet, upper.offset + 2).host() & 0xfff8) != 0) return std::nullopt;
    const size_t length = at<uint8_t>(packet, upper.offset + 1);
    upper.protocol = at<uint8_t>(packet, upper.offset);
    upper.offset += kind == kFragment ? 8 : kind == kAuthentication ? (length + 2) * 4 : (length + 1) * 8;
  }
}

bool may_answer_ipv6(ConstBytes packet, IcmpError error) {
  if (packet.size() < sizeof(Ipv6Header)) return false;
  const auto& ip = at<Ipv6Header>(packet, 0);
  const IpAddress source = IpAddress::ipv6(ip.source.data()), destination = IpAddress::ipv6(ip.destination.data());
  static const IpAddress loopback = *parse_address("::1");
  if (source.is_multicast() || source.is_unspecified() || source == loopback) return false;
  // RFC 4443 section 2.4 (e.3): path MTU discovery works for multicast too.
  if (destination.is_multicast() && error != IcmpError::kTooBig) return false;
  const std::optional<UpperLayer> upper = skip_extensions(packet);
  if (!upper) return false;
  if (upper->protocol != kProtocolIcmpv6) return true;
  if (packet.size() <= upper->offset) return false;
  const uint8_t type = at<uint8_t>(packet, upper->offset);
  constexpr uint8_t kFirstInformational = 128, kRedirect = 137;
  return type >= kFirstInformational && type != kRedirect;
}

template <class Header>
std::vector<std::byte> assemble(const Header& ip, TypeAndCode kind, uint16_t mtu, ConstBytes quote) {
  std::vector<std::byte> out(sizeof ip + sizeof(IcmpHeader) + quote.size());
  const IcmpHeader icmp{.type = kind.type, .code = kind.code, .checksum = be16(0), .value = be32(mtu)};
  std::memcpy(out.data(), &ip, sizeof ip);
  std::memcpy(out.data() + sizeof ip, &icmp, sizeof icmp);
  std::memcpy(out.data() + sizeof ip + sizeof icmp, quote.data(), quote.size());
  return out;
}

void set_checksum(std::vector<std::byte>& packet, size_t icmp_offset, uint16_t checksum) {
  const be16 wire(checksum);
  std::memcpy(packet.data() + icmp_offset + offsetof(IcmpHeader, checksum), &wire, sizeof wire);
}

std::vector<std::byte> make_ipv4(ConstBytes offending, TypeAndCode kind, uint16_t mtu, const IpAddress& source) {
  const auto& about = at<Ipv4Header>(offending, 0);
  const ConstBytes quote =
      offending.first(std::min(offending.size(), kIpv4Quote - sizeof(Ipv4Header) - sizeof(IcmpHeader)));
  Ipv4Header ip{};
  ip.version_ihl = 0x45;
  // RFC 1812 section 4.3.2.5: precedence 6, the offending packet's type of service; never ECN-capable.
  ip.tos = static_cast<uint8_t>(0xc0 | (about.tos & 0x1c));
  ip.total_length = static_cast<uint16_t>(sizeof ip + sizeof(IcmpHeader) + quote.size());
  ip.flags_fragment = 0x4000;  // DF: too small to be fragmented, and then the identification may be 0 (RFC 6864)
  ip.ttl = kDefaultHopLimit;
  ip.protocol = kProtocolIcmp;
  std::copy_n(source.bytes.begin(), 4, ip.source.begin());
  ip.destination = about.source;
  ip.checksum = ipv4_header_checksum(ip);
  auto out = assemble(ip, kind, mtu, quote);
  set_checksum(out, sizeof ip, checksum_fold(checksum_add(ConstBytes(out).subspan(sizeof ip))));
  return out;
}

std::vector<std::byte> make_ipv6(ConstBytes offending, TypeAndCode kind, uint16_t mtu, const IpAddress& source) {
  const auto& about = at<Ipv6Header>(offending, 0);
  const ConstBytes quote =
      offending.first(std::min(offending.size(), kIpv6Quote - sizeof(Ipv6Header) - sizeof(IcmpHeader)));
  Ipv6Header ip{};
  ip.version_class_flow = 6u << 28;
  ip.payload_length = static_cast<uint16_t>(sizeof(IcmpHeader) + quote.size());
  ip.next_header = kProtocolIcmpv6;
  ip.hop_limit = kDefaultHopLimit;
  ip.source = source.bytes;
  ip.destination = about.source;
  auto out = assemble(ip, kind, mtu, quote);
  const ConstBytes message = ConstBytes(out).subspan(sizeof ip);
  const IpAddress destination = IpAddress::ipv6(about.source.data());
  set_checksum(out, sizeof ip, transport_checksum(source, destination, kProtocolIcmpv6, message));
  return out;
}

}  // namespace

std::optional<std::vector<std::byte>> make_icmp_error(ConstBytes offending, const IcmpErrorRequest& request) {
  const Family family = version_of(offending);
  if (family == Family::kNone || request.source.family != family) return std::nullopt;
  const auto kind = static_cast<size_t>(request.error);
  const uint16_t mtu = request.error == IcmpError::kTooBig ? request.mtu : uint16_t{0};
  if (family == Family::kIpv4) {
    if (!may_answer_ipv4(offending)) return std::nullopt;
    return make_ipv4(offending, kIpv4Types[kind], mtu, request.source);
  }
  if (!may_answer_ipv6(offending, request.error)) return std::nullopt;
  return make_ipv6(offending, kIpv6Types[kind], mtu, request.source);
}

}  // namespace sluice
