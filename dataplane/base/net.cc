#include "dataplane/base/net.h"

#include <arpa/inet.h>
#include <net/if.h>

#include <charconv>
#include <cstdio>

namespace sluice {
namespace {

template <class Integer>
std::optional<Integer> parse_decimal(std::string_view text) {
  Integer value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Splits at the last slash; both parts must be there.
struct SlashParts {
  IpAddress address;
  unsigned length;
};
std::optional<SlashParts> parse_slash(std::string_view text) {
  const size_t slash = text.rfind('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto address = parse_address(text.substr(0, slash));
  const auto length = parse_decimal<unsigned>(text.substr(slash + 1));
  if (!address || !length || *length > address->bits()) return std::nullopt;
  return SlashParts{*address, *length};
}

uint8_t byte_mask(unsigned length, unsigned index) {  // of byte `index` in a prefix of `length` bits
  if (length >= 8 * (index + 1)) return 0xff;
  if (length <= 8 * index) return 0;
  return static_cast<uint8_t>(0xff << (8 - (length - 8 * index)));
}

}  // namespace

bool IpAddress::is_multicast() const { return is_ipv4() ? (bytes[0] & 0xf0) == 0xe0 : is_ipv6() && bytes[0] == 0xff; }

bool IpAddress::is_link_local() const {
  if (is_ipv4()) return bytes[0] == 169 && bytes[1] == 254;
  return is_ipv6() && bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
}

bool IpAddress::is_unspecified() const { return bytes == std::array<uint8_t, 16>{}; }

Prefix Prefix::make(IpAddress address, unsigned length) {
  for (unsigned i = 0; i < address.size(); ++i) address.bytes[i] &= byte_mask(length, i);
  return Prefix{address, static_cast<uint8_t>(length)};
}

bool Prefix::contains(const IpAddress& a) const {
  return a.family == address.family && make(a, length).address == address;
}

std::optional<IpAddress> parse_address(std::string_view text) {
  char buffer[INET6_ADDRSTRLEN];
  if (text.size() >= sizeof buffer) return std::nullopt;
  text.copy(buffer, text.size());
  buffer[text.size()] = '\0';
  uint8_t raw[16];
  if (inet_pton(AF_INET, buffer, raw) == 1) return IpAddress::ipv4(raw);
  if (inet_pton(AF_INET6, buffer, raw) == 1) return IpAddress::ipv6(raw);
  return std::nullopt;
}

std::optional<Prefix> parse_prefix(std::string_view text) {
  const auto parts = parse_slash(text);
  if (!parts) return std::nullopt;
  return Prefix::make(parts->address, parts->length);
}

std::optional<InterfaceAddress> parse_interface_address(std::string_view text) {
  const auto parts = parse_slash(text);
  if (!parts) return std::nullopt;
  return InterfaceAddress{parts->address, static_cast<uint8_t>(parts->length)};
}

std::optional<Endpoint> parse_endpoint(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const auto port = parse_decimal<uint16_t>(text.substr(colon + 1));
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (!port) return std::nullopt;
  if (bracketed) host = host.substr(1, host.size() - 2);

  Endpoint endpoint;
  endpoint.port = *port;
  const size_t percent = host.find('%');
  if (percent != std::string_view::npos) {
    const std::string scope(host.substr(percent + 1));
    const auto index = parse_decimal<uint32_t>(scope);
    endpoint.scope = index ? *index : if_nametoindex(scope.c_str());
    if (endpoint.scope == 0) return std::nullopt;
    host = host.substr(0, percent);
  }
  const auto address = parse_address(host);
  if (!address || address->is_ipv6() != bracketed || (endpoint.scope != 0 && !address->is_ipv6())) return std::nullopt;
  endpoint.address = *address;
  return endpoint;
}

std::optional<Mac> parse_mac(std::string_view text) {
  Mac mac;
  if (text.size() != 17) return std::nullopt;
  for (size_t i = 0; i < 6; ++i) {
    const char* first = text.data() + 3 * i;
    const auto [end, error] = std::from_chars(first, first + 2, mac.bytes[i], 16);
    if (error != std::errc{} || end != first + 2 || (i < 5 && text[3 * i + 2] != ':')) return std::nullopt;
  }
  return mac;
}

std::string to_string(const IpAddress& address) {
  if (address.is_none()) return "none";
  char buffer[INET6_ADDRSTRLEN];
  inet_ntop(address.is_ipv4() ? AF_INET : AF_INET6, address.bytes.data(), buffer, sizeof buffer);
  return buffer;
}

std::string to_string(const Prefix& prefix) { return to_string(prefix.address) + "/" + std::to_string(prefix.length); }

std::string to_string(const InterfaceAddress& address) {
  return to_string(address.address) + "/" + std::to_string(address.length);
}

std::string to_string(const Endpoint& endpoint) {
  std::string host = to_string(endpoint.address);
  if (endpoint.scope != 0) {
    char name[IF_NAMESIZE];
    host += "%" + (if_indextoname(endpoint.scope, name) ? std::string(name) : std::to_string(endpoint.scope));
  }
  if (endpoint.address.is_ipv6()) host = "[" + host + "]";
  return host + ":" + std::to_string(endpoint.port);
}

std::string to_string(const Mac& mac) {
  char text[18];
  std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac.bytes[0], mac.bytes[1], mac.bytes[2],
                mac.bytes[3], mac.bytes[4], mac.bytes[5]);
  return text;
}

}  // namespace sluice
