#include "control/wg/path_report.h"

#include "dataplane/wire/ip.h"

namespace sluice {
namespace {

struct IcmpTooBig {  // both families: type, code, checksum, 32 bits of which IPv4 uses the lower half
  uint8_t type, code;
  be16 checksum;
  be32 mtu;
};
static_assert(sizeof(IcmpTooBig) == 8);

constexpr uint8_t kUnreachable = 3, kFragmentationNeeded = 4, kPacketTooBig = 2;

template <class Header>
const Header* header_at(ConstBytes bytes, size_t offset) noexcept {
  return bytes.size() >= offset + sizeof(Header) ? reinterpret_cast<const Header*>(bytes.data() + offset) : nullptr;
}

// The ICMP message in a whole packet, if it is of the right kind and its checksum holds.
ConstBytes too_big_in_ipv4(ConstBytes packet) noexcept {
  const auto* ip = header_at<Ipv4Header>(packet, 0);
  if (ip == nullptr || ip->protocol != kProtocolIcmp || ip->is_fragment() || ip->header_size() > packet.size())
    return {};
  const ConstBytes icmp = packet.subspan(ip->header_size());
  const auto* header = header_at<IcmpTooBig>(icmp, 0);
  if (header == nullptr || header->type != kUnreachable || header->code != kFragmentationNeeded) return {};
  return checksum_fold(checksum_add(icmp)) == 0 ? icmp : ConstBytes{};
}

ConstBytes too_big_in_ipv6(ConstBytes packet) noexcept {
  const auto* ip = header_at<Ipv6Header>(packet, 0);
  if (ip == nullptr || ip->next_header != kProtocolIcmpv6) return {};
  const ConstBytes icmp = packet.subspan(sizeof *ip);
  const auto* header = header_at<IcmpTooBig>(icmp, 0);
  if (header == nullptr || header->type != kPacketTooBig) return {};
  const IpAddress from = IpAddress::ipv6(ip->source.data()), to = IpAddress::ipv6(ip->destination.data());
  return transport_checksum(from, to, kProtocolIcmpv6, icmp) == 0 ? icmp : ConstBytes{};
}

// What a quoted packet says of itself.
struct Quote {
  IpAddress source, destination;
  size_t size = 0;  // of the packet before it was cut for quoting
  ConstBytes transport;
};

std::optional<Quote> quoted_ipv4(ConstBytes quote) noexcept {
  const auto* ip = header_at<Ipv4Header>(quote, 0);
  if (ip == nullptr || version_of(quote) != Family::kIpv4 || ip->header_size() != sizeof *ip) return std::nullopt;
  if (ip->protocol != kProtocolUdp || ip->is_fragment()) return std::nullopt;
  return Quote{IpAddress::ipv4(&ip->source), IpAddress::ipv4(&ip->destination), ip->total_length.host(),
               quote.subspan(sizeof *ip)};
}

// The message may have left in fragments (for a narrower path than this one); the first has what is asked for.
std::optional<Quote> quoted_ipv6(ConstBytes quote) noexcept {
  const auto* ip = header_at<Ipv6Header>(quote, 0);
  if (ip == nullptr || version_of(quote) != Family::kIpv6) return std::nullopt;
  Quote result{IpAddress::ipv6(&ip->source), IpAddress::ipv6(&ip->destination),
               sizeof *ip + size_t{ip->payload_length.host()}, quote.subspan(sizeof *ip)};
  uint8_t protocol = ip->next_header;
  if (protocol == kProtocolIpv6Fragment) {
    const auto* fragment = header_at<Ipv6FragmentHeader>(result.transport, 0);
    if (fragment == nullptr || fragment->offset() != 0) return std::nullopt;
    protocol = fragment->next_header;
    result.transport = result.transport.subspan(sizeof *fragment);
  }
  return protocol == kProtocolUdp ? std::optional(result) : std::nullopt;
}

}  // namespace

std::optional<PathReport> parse_path_report(ConstBytes packet) noexcept {
  const bool ipv4 = version_of(packet) == Family::kIpv4;
  const ConstBytes icmp = ipv4 ? too_big_in_ipv4(packet) : too_big_in_ipv6(packet);
  if (icmp.empty()) return std::nullopt;
  const ConstBytes quoted = icmp.subspan(sizeof(IcmpTooBig));
  const auto quote = ipv4 ? quoted_ipv4(quoted) : quoted_ipv6(quoted);
  if (!quote) return std::nullopt;
  const auto* udp = header_at<UdpHeader>(quote->transport, 0);
  const auto* data = header_at<DataHeader>(quote->transport, sizeof(UdpHeader));
  if (data == nullptr || data->type.host() != static_cast<uint32_t>(MessageType::kData)) return std::nullopt;

  const uint32_t said = header_at<IcmpTooBig>(icmp, 0)->mtu.host();
  const uint32_t mtu = ipv4 ? said & 0xffff : said;
  if (mtu >= quote->size) return std::nullopt;  // it would have passed
  PathReport report;
  report.remote = {quote->destination, udp->destination_port.host()};
  report.local = quote->source;
  report.local_port = udp->source_port.host();
  report.mtu = static_cast<uint16_t>(mtu);
  report.receiver_index = data->receiver_index.host();
  report.counter = data->counter.host();
  return report;
}

}  // namespace sluice
