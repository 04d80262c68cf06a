#include "config/values.h"

#include <net/if.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <numeric>

namespace sluice::config {
namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr bool is_printable(char c) { return c >= 0x20 && c < 0x7f; }
constexpr bool is_graphic(char c) { return is_printable(c) && c != ' '; }
constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
constexpr bool is_name_character(char c) { return is_letter(c) || is_digit(c) || c == '.' || c == '_' || c == '-'; }

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](char c) { return lower(c); });
  return result;
}

Error refuse(std::string_view text, std::string_view why) { return Error{excerpt(text) + " " + std::string(why)}; }

// Levenshtein's distance, one row at a time.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row.back();
}

// "0000:3b:00.0" or without the domain, which is then 0000; lower case. Empty if it is no PCI address.
std::string full_pci_address(std::string_view text) {
  std::string address = lower(text);
  if (address.size() == 7) address = "0000:" + address;
  static constexpr std::string_view kShape = "xxxx:xx:xx.7";
  if (address.size() != kShape.size()) return {};
  for (size_t i = 0; i < kShape.size(); ++i) {
    const char c = address[i];
    const bool fits = kShape[i] == 'x'   ? is_digit(c) || (c >= 'a' && c <= 'f')
                      : kShape[i] == '7' ? c >= '0' && c <= '7'
                                         : c == kShape[i];
    if (!fits) return {};
  }
  return address;
}

bool is_interface_name(std::string_view text) {
  return !text.empty() && text.size() < IFNAMSIZ && text != "." && text != ".." &&
         std::ranges::all_of(text, is_graphic) && text.find_first_of("/:") == std::string_view::npos;
}

constexpr std::string_view kDeviceForms =
    "pci:0000:3b:00.0, af_packet:IF, af_xdp:IF, memif:/PATH, vhost:/PATH, virtio_user:/PATH, tap:NAME, ring:NAME, "
    "pcap:IN,OUT, null, or a DPDK device's own name as net_NAME";

Result<Device> check_device(DeviceKind kind, std::string_view text, std::string_view argument) {
  switch (kind) {
    case DeviceKind::kPci: {
      std::string address = full_pci_address(argument);
      if (address.empty()) return refuse(text, "is not a PCI address like pci:0000:3b:00.0; `lspci -D` lists them");
      return Device{kind, std::move(address)};
    }
    case DeviceKind::kAfPacket:
    case DeviceKind::kAfXdp:
    case DeviceKind::kTap:
      if (!is_interface_name(argument))
        return refuse(text, "does not name a Linux interface; write it like af_packet:eth1");
      break;
    case DeviceKind::kMemif:
    case DeviceKind::kVhost:
    case DeviceKind::kVirtioUser:
      if (!argument.starts_with('/'))
        return refuse(text, "needs the absolute path of a socket, like memif:/run/x.sock");
      break;
    case DeviceKind::kRing:
      if (argument.empty() || !std::ranges::all_of(argument, is_name_character))
        return refuse(text, "needs a name of letters, digits, `.`, `_`, `-`, like ring:a");
      break;
    case DeviceKind::kPcap:
      if (argument.find(',') == std::string_view::npos)
        return refuse(text, "needs two files, like pcap:in.pcap,out.pcap");
      break;
    case DeviceKind::kNull:
      if (text != "null") return refuse(text, "takes no argument; write \"null\"");
      break;
    case DeviceKind::kDpdk:
      break;
  }
  return Device{kind, std::string(argument)};
}

Result<Device> unknown_device(std::string_view text, std::string_view kind) {
  if (kind == "socket" || kind == "tun")
    return refuse(text, "belongs to drop-in mode (`sluiced IF`) and is no port of a gateway");
  std::array<std::string_view, kDeviceKinds - 1> kinds;  // without kDpdk, the last
  for (unsigned i = 0; i < kinds.size(); ++i) kinds[i] = name_of(static_cast<DeviceKind>(i));
  const std::string_view meant = nearest(kind, kinds);
  const std::string hint = meant.empty() ? "" : "; did you mean `" + std::string(meant) + "`?";
  return refuse(text, "is no device" + hint + "; allowed: " + std::string(kDeviceForms));
}

bool is_host_name(std::string_view text) {
  if (text.empty() || text.size() > 253 || !std::ranges::all_of(text, is_name_character)) return false;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('.', begin), text.size());
    const std::string_view label = text.substr(begin, end - begin);
    const bool root = label.empty() && end == text.size() && begin > 0;  // "vpn.example."
    if (!root && (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-')) return false;
    begin = end + 1;
  }
  return true;
}

bool is_bracketed_ipv6(std::string_view text) {  // without the brackets; with a scope where there is one
  const size_t percent = std::min(text.find('%'), text.size());
  const auto address = parse_address(text.substr(0, percent));
  return address && address->is_ipv6() && (percent == text.size() || is_interface_name(text.substr(percent + 1)));
}

bool is_host(std::string_view host) {
  const bool numeric = std::ranges::all_of(host, [](char c) { return is_digit(c) || c == '.'; });
  return numeric ? parse_address(host).has_value() : is_host_name(host);
}

}  // namespace

Result<std::string> parse_gateway_name(std::string_view text) {
  if (text.empty() || text.size() > 63 || text.front() == '.' || !std::ranges::all_of(text, is_name_character))
    return refuse(text, "is no gateway name: 1..63 letters, digits, `.`, `_`, `-`, not starting with a dot");
  return std::string(text);
}

Result<std::string> parse_engine_name(std::string_view text) {
  if (text.empty() || text.size() > 63 || !std::ranges::all_of(text, is_name_character))
    return refuse(text, "is no engine's name; allowed: \"auto\" or a name like \"ipsec-mb\"");
  return std::string(text);
}

Result<std::string> parse_absolute_path(std::string_view text) {
  if (!text.starts_with('/') || !std::ranges::all_of(text, is_printable))
    return refuse(text, "is not an absolute path, like /run/sluice");
  while (text.size() > 1 && text.ends_with('/')) text.remove_suffix(1);
  return std::string(text);
}

Result<std::string> parse_interface_name(std::string_view text) {
  if (!is_interface_name(text))
    return refuse(text, "is no name for a Linux interface: 1..15 characters without space, `/` and `:`");
  if (text == "lo" || text == "all" || text == "default")
    return refuse(text, "is taken by Linux itself; choose another");
  return std::string(text);
}

Result<Device> parse_device(std::string_view text) {
  if (!std::ranges::all_of(text, is_graphic)) return refuse(text, "has spaces or control characters");
  const size_t colon = std::min(text.find(':'), text.size());
  const std::string_view kind = text.substr(0, colon);
  const std::string_view argument = colon < text.size() ? text.substr(colon + 1) : std::string_view{};
  for (unsigned i = 0; i < kDeviceKinds; ++i) {
    const auto known = static_cast<DeviceKind>(i);
    if (known != DeviceKind::kDpdk && kind == name_of(known)) return check_device(known, text, argument);
  }
  if (kind == text && kind.starts_with("net_")) {
    if (!std::ranges::all_of(kind, is_name_character)) return refuse(text, "has arguments; put them into devargs");
    return Device{DeviceKind::kDpdk, std::string(text)};
  }
  return unknown_device(text, kind);
}

Result<std::string> parse_devargs(std::string_view text) {
  if (!std::ranges::all_of(text, is_graphic)) return refuse(text, "has spaces; DPDK's form is name=value,name=value");
  return std::string(text);
}

Result<InterfaceAddress> parse_own_address(std::string_view text) {
  const auto address = parse_interface_address(text);
  if (!address) {
    return parse_address(text) ? refuse(text, "has no prefix length; write it like 192.0.2.1/24")
                               : refuse(text, "is no address with prefix length, like 192.0.2.1/24 or 2001:db8::1/64");
  }
  if (address->address.is_multicast() || address->address.is_unspecified())
    return refuse(text, "is no address an interface can have");
  return *address;
}

Result<Prefix> parse_destination(std::string_view text) {
  const auto prefix = parse_prefix(text);
  if (prefix) return *prefix;
  if (text == "default") return refuse(text, "leaves the family open; write 0.0.0.0/0 or ::/0");
  return refuse(text, "is no prefix, like 10.0.0.0/8 or ::/0");
}

Result<IpAddress> parse_gateway_address(std::string_view text) {
  const auto address = parse_address(text);
  if (!address || address->is_multicast() || address->is_unspecified())
    return refuse(text, "is no router's address, like 192.0.2.1 or fe80::1");
  return *address;
}

Result<HostPort> parse_host_port(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return refuse(text, "has no port; write it like vpn.example.net:51820");
  std::string_view host = text.substr(0, colon);
  const std::string_view port_text = text.substr(colon + 1);

  uint16_t port = 0;
  const char* end = port_text.data() + port_text.size();
  const auto parsed = std::from_chars(port_text.data(), end, port);
  if (parsed.ec != std::errc{} || parsed.ptr != end || port == 0) return refuse(text, "must end in a port, 1..65535");

  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    if (!is_bracketed_ipv6(host)) return refuse(text, "has no IPv6 address in its brackets");
  } else if (host.find(':') != std::string_view::npos) {
    return refuse(text, "needs brackets around the IPv6 address, like [2001:db8::1]:51820");
  } else if (!is_host(host)) {
    return refuse(text, "is no endpoint, like vpn.example.net:51820, 192.0.2.1:51820 or [2001:db8::1]:51820");
  }
  return HostPort{std::string(host), port};
}

Result<Prefix> parse_allowed_ip(std::string_view text) {
  if (const auto prefix = parse_prefix(text)) return *prefix;
  if (const auto host = parse_address(text)) return Prefix::host(*host);
  return refuse(text, "is no prefix, like 10.2.0.0/16 or 2001:db8:2::/48");
}

Result<std::string> parse_peer_name(std::string_view text) {
  if (text.empty() || text.size() > 63 || !std::ranges::all_of(text, is_graphic))
    return refuse(text, "is no peer name: 1..63 printable characters without space");
  return std::string(text);
}

Result<PublicKey> parse_public_key(std::string_view text) {
  const auto key = public_key_from_base64(text);
  if (!key) return refuse(text, "is no public key: 44 characters of base64, as `sluice pubkey` prints them");
  if (key->is_zero()) return refuse(text, "is the all-zero key, which nobody can have");
  return *key;
}

std::string in_quotes(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    char escape[8];
    if (c == '"' || c == '\\') {
      result += {'\\', c};
    } else if (is_printable(c) || static_cast<unsigned char>(c) >= 0x80) {
      result += c;
    } else {
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
      result += escape;
    }
  }
  return result + "\"";
}

std::string excerpt(std::string_view text) {
  static constexpr size_t kLongest = 80;
  return in_quotes(text.substr(0, kLongest)) + (text.size() > kLongest ? "..." : "");
}

std::string_view nearest(std::string_view text, std::span<const std::string_view> candidates) {
  static constexpr size_t kLongest = 64;  // longer is no slip of the finger, and would cost a quadratic comparison
  if (text.size() > kLongest) return {};
  const std::string wanted = lower(text);
  std::string_view best;
  size_t best_distance = std::max<size_t>(2, text.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    const size_t distance = edit_distance(wanted, candidate);
    if (distance >= best_distance || distance >= candidate.size()) continue;
    best_distance = distance;
    best = candidate;
  }
  return best;
}

}  // namespace sluice::config
