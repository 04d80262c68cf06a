// Network addresses as values: parse, format, compare. Addresses are held in network byte order.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

enum class Family : uint8_t { kNone = 0, kIpv4 = 4, kIpv6 = 6 };

struct Mac {
  std::array<uint8_t, 6> bytes{};
  auto operator<=>(const Mac&) const = default;
  bool is_multicast() const { return (bytes[0] & 1) != 0; }  // broadcast included
};

// An IPv4 address uses bytes[0..3], the rest is zero. v4-mapped IPv6 addresses stay IPv6: the two are separate worlds.
struct IpAddress {
  std::array<uint8_t, 16> bytes{};
  Family family = Family::kNone;
  auto operator<=>(const IpAddress&) const = default;

  static IpAddress ipv4(const void* four_bytes) {
    IpAddress a;
    a.family = Family::kIpv4;
    std::memcpy(a.bytes.data(), four_bytes, 4);
    return a;
  }
  static IpAddress ipv6(const void* sixteen_bytes) {
    IpAddress a;
    a.family = Family::kIpv6;
    std::memcpy(a.bytes.data(), sixteen_bytes, 16);
    return a;
  }
  bool is_none() const { return family == Family::kNone; }
  bool is_ipv4() const { return family == Family::kIpv4; }
  bool is_ipv6() const { return family == Family::kIpv6; }
  unsigned size() const { return is_ipv4() ? 4 : is_ipv6() ? 16 : 0; }  // bytes
  unsigned bits() const { return size() * 8; }
  bool is_multicast() const;   // 224/4, ff00::/8
  bool is_link_local() const;  // 169.254/16, fe80::/10
  bool is_unspecified() const;
};

// Host bits are zero: make() masks them.
struct Prefix {
  IpAddress address;
  uint8_t length = 0;
  auto operator<=>(const Prefix&) const = default;
  static Prefix make(IpAddress address, unsigned length);
  static Prefix host(IpAddress address) { return make(address, address.bits()); }
  bool contains(const IpAddress& a) const;
};

// An interface's own address with the length of its network; host bits are kept.
struct InterfaceAddress {
  IpAddress address;
  uint8_t length = 0;
  auto operator<=>(const InterfaceAddress&) const = default;
};

struct Endpoint {
  IpAddress address;
  uint16_t port = 0;   // host order
  uint32_t scope = 0;  // interface index of a link-local IPv6 address, else 0
  auto operator<=>(const Endpoint&) const = default;
  bool is_none() const { return address.is_none(); }
};

// Parsers accept exactly the usual text forms (inet_pton's, no surrounding space) or give nullopt.
std::optional<IpAddress> parse_address(std::string_view text);
std::optional<Prefix> parse_prefix(
    std::string_view text);  // "10.0.0.0/8"; the length is mandatory; host bits are masked
std::optional<InterfaceAddress> parse_interface_address(std::string_view text);  // "10.0.0.1/8"; length mandatory
// "192.0.2.1:51820", "[2001:db8::1]:51820", "[fe80::1%eth0]:51820". Numeric only; names are resolved elsewhere.
std::optional<Endpoint> parse_endpoint(std::string_view text);
std::optional<Mac> parse_mac(std::string_view text);

std::string to_string(const IpAddress& address);
std::string to_string(const Prefix& prefix);
std::string to_string(const InterfaceAddress& address);
std::string to_string(const Endpoint& endpoint);
std::string to_string(const Mac& mac);

}  // namespace sluice
