#include "dataplane/wire/mss_clamp.h"

#include <algorithm>

#include "dataplane/wire/ip.h"
#include "dataplane/wire/tcp.h"

namespace sluice {
namespace {

constexpr uint8_t kOptionEnd = 0, kOptionNop = 1, kOptionMss = 2;
constexpr size_t kMssSize = 4;  // kind, length, value

Bytes tcp_of_ipv4(Bytes packet) noexcept {
  const auto* ip = reinterpret_cast<const Ipv4Header*>(packet.data());
  const size_t header_size = ip->header_size(), end = std::min<size_t>(ip->total_length.host(), packet.size());
  if (ip->protocol != kProtocolTcp || ip->is_fragment() || header_size < sizeof *ip || header_size > end) return {};
  return packet.subspan(header_size, end - header_size);
}

// Behind hop-by-hop options, routing and destination options (RFC 8200, section 4); a fragment header ends the search.
Bytes tcp_of_ipv6(Bytes packet) noexcept {
  constexpr uint8_t kHopByHop = 0, kRouting = 43, kDestinationOptions = 60;
  const auto* ip = reinterpret_cast<const Ipv6Header*>(packet.data());
  uint8_t next = ip->next_header;
  Bytes rest = packet.subspan(sizeof *ip, std::min<size_t>(ip->payload_length.host(), packet.size() - sizeof *ip));
  while (next == kHopByHop || next == kRouting || next == kDestinationOptions) {
    if (rest.size() < 8) return {};
    const size_t size = size_t{8} * (static_cast<uint8_t>(rest[1]) + 1u);
    if (size > rest.size()) return {};
    next = static_cast<uint8_t>(rest[0]);
    rest = rest.subspan(size);
  }
  return next == kProtocolTcp ? rest : Bytes{};
}

// What stands behind kind and length of the MSS option; empty: there is none.
Bytes mss_value_in(Bytes options) noexcept {
  while (!options.empty()) {
    const auto kind = static_cast<uint8_t>(options[0]);
    if (kind == kOptionEnd) return {};
    if (kind == kOptionNop) {
      options = options.subspan(1);
      continue;
    }
    const size_t size = options.size() < 2 ? 0 : static_cast<uint8_t>(options[1]);
    if (size < 2 || size > options.size()) return {};
    if (kind == kOptionMss) return size == kMssSize ? options.subspan(2, 2) : Bytes{};
    options = options.subspan(size);
  }
  return {};
}

// A value that starts at an odd offset lies across two words, and adds to their sum as if its bytes were swapped.
uint16_t as_summed(uint16_t value, bool odd) noexcept { return odd ? __builtin_bswap16(value) : value; }

void lower_mss(Bytes segment, uint16_t limit) noexcept {
  auto* tcp = reinterpret_cast<TcpHeader*>(segment.data());
  const Bytes at = mss_value_in(segment.subspan(sizeof *tcp, tcp->header_size() - sizeof *tcp));
  if (at.empty()) return;
  auto& mss = *reinterpret_cast<be16*>(at.data());
  const uint16_t asked = mss.host();
  if (asked <= limit) return;
  mss = limit;
  const bool odd = (at.data() - segment.data()) % 2 != 0;
  tcp->checksum = checksum_adjust(tcp->checksum.host(), as_summed(asked, odd), as_summed(limit, odd));
}

}  // namespace

void clamp_mss(Bytes packet, uint16_t mtu) noexcept {
  const bool ipv4 = version_of(packet) == Family::kIpv4;
  const size_t headers = sizeof(TcpHeader) + (ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header));
  if (packet.size() < headers || mtu <= headers) return;
  const Bytes segment = ipv4 ? tcp_of_ipv4(packet) : tcp_of_ipv6(packet);
  if (segment.size() < sizeof(TcpHeader)) return;
  const auto* tcp = reinterpret_cast<const TcpHeader*>(segment.data());
  if (!tcp->opens_connection() || tcp->header_size() < sizeof *tcp || tcp->header_size() > segment.size()) return;
  lower_mss(segment, static_cast<uint16_t>(mtu - headers));
}

}  // namespace sluice
