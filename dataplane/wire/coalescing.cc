// The rules are those of the kernel's GRO (net/ipv4/tcp_offload.c, udp_offload.c): what leaves here and is cut again
// gives the packets that came in.
#include <algorithm>
#include <cstring>

#include "dataplane/wire/super_frame.h"
#include "dataplane/wire/tcp.h"

namespace sluice {
namespace {

constexpr unsigned kOpenGroups = 8;  // flows whose last group may still grow
constexpr size_t kMaxSegments = 64;  // as many as every kernel takes of UDP

bool same_bytes(const std::byte* a, const std::byte* b, size_t from, size_t to) noexcept {
  return std::memcmp(a + from, b + from, to - from) == 0;
}

bool transport_checksum_holds(ConstBytes packet, size_t l4_offset, uint8_t protocol) noexcept {
  const bool ipv4 = version_of(packet) == Family::kIpv4;
  const ConstBytes addresses = ipv4 ? packet.subspan(12, 8) : packet.subspan(8, 32), l4 = packet.subspan(l4_offset);
  const be32 tail[2]{be32(static_cast<uint32_t>(l4.size())), be32(protocol)};
  return checksum_fold(checksum_add(l4, checksum_add(std::as_bytes(std::span(tail)), checksum_add(addresses)))) == 0;
}

// The checksum field as the kernel wants it under kNeedsChecksum: the pseudo header's sum, not complemented.
be16 partial_checksum(ConstBytes packet, size_t l4_size, uint8_t protocol) noexcept {
  const bool ipv4 = version_of(packet) == Family::kIpv4;
  const ConstBytes addresses = ipv4 ? packet.subspan(12, 8) : packet.subspan(8, 32);
  const be32 tail[2]{be32(static_cast<uint32_t>(l4_size)), be32(protocol)};
  const uint16_t folded = checksum_fold(checksum_add(std::as_bytes(std::span(tail)), checksum_add(addresses)));
  return be16(static_cast<uint16_t>(~folded));
}

}  // namespace

struct Coalescer::Flow {
  Family family = Family::kNone;
  uint8_t protocol = 0;
  uint16_t l4_offset = 0, headers = 0, payload = 0;
  bool mergeable = false;  // else: alone, but what belongs to its flow must not pass it
  const std::byte* at = nullptr;

  static Flow of(ConstBytes packet) noexcept;
  bool same_flow(const Flow& other) const noexcept;
  bool continues(const Flow& other) const noexcept;  // all that must be equal in the packets of one group
  const TcpHeader& tcp() const noexcept { return *reinterpret_cast<const TcpHeader*>(at + l4_offset); }
};

// A group that may still grow.
struct Coalescer::Open {
  uint8_t group = 0;
  bool closed = false;      // no more; still in the way of its flow's later packets
  bool first_good = false;  // the first packet's checksum was found right
  uint32_t next_sequence = 0;
  uint32_t size = 0;  // of the super-frame
  Flow flow;          // of the first packet
};

Coalescer::Flow Coalescer::Flow::of(ConstBytes packet) noexcept {
  Flow flow;
  flow.at = packet.data();
  const Family family = version_of(packet);
  size_t total = 0;
  if (family == Family::kIpv4 && packet.size() >= sizeof(Ipv4Header)) {
    const auto* ip = reinterpret_cast<const Ipv4Header*>(packet.data());
    if (ip->version_ihl != 0x45 || ip->is_fragment()) return flow;
    flow.protocol = ip->protocol;
    flow.l4_offset = sizeof *ip;
    total = ip->total_length.host();
  } else if (family == Family::kIpv6 && packet.size() >= sizeof(Ipv6Header)) {
    const auto* ip = reinterpret_cast<const Ipv6Header*>(packet.data());
    flow.protocol = ip->next_header;
    flow.l4_offset = sizeof *ip;
    total = sizeof *ip + ip->payload_length.host();
  }
  const bool tcp = flow.protocol == kProtocolTcp, udp = flow.protocol == kProtocolUdp;
  const size_t least = tcp ? sizeof(TcpHeader) : sizeof(UdpHeader);
  if ((!tcp && !udp) || total != packet.size() || flow.l4_offset + least > total) return flow;
  const size_t headers = flow.l4_offset + (tcp ? flow.tcp().header_size() : sizeof(UdpHeader));
  if (headers < flow.l4_offset + least || headers > total) return flow;
  flow.family = family;
  flow.headers = static_cast<uint16_t>(headers);
  flow.payload = static_cast<uint16_t>(total - headers);
  if (tcp) {
    flow.mergeable = flow.payload != 0 && (flow.tcp().flags & ~TcpHeader::kPsh) == TcpHeader::kAck;
  } else {
    const auto* header = reinterpret_cast<const UdpHeader*>(packet.data() + flow.l4_offset);
    flow.mergeable =
        flow.payload != 0 && header->checksum.host() != 0 && header->length.host() == total - flow.l4_offset;
  }
  return flow;
}

bool Coalescer::Flow::same_flow(const Flow& other) const noexcept {
  if (family != other.family || protocol != other.protocol) return false;
  const bool addresses = family == Family::kIpv4 ? same_bytes(at, other.at, 12, 20) : same_bytes(at, other.at, 8, 40);
  return addresses && same_bytes(at, other.at, l4_offset, l4_offset + 4u);
}

bool Coalescer::Flow::continues(const Flow& other) const noexcept {
  if (headers != other.headers) return false;
  const bool ip = family == Family::kIpv4 ? same_bytes(at, other.at, 0, 2) && same_bytes(at, other.at, 6, 10)
                                          : same_bytes(at, other.at, 0, 4) && same_bytes(at, other.at, 6, 8);
  if (!ip || protocol == kProtocolUdp) return ip;
  const TcpHeader &a = tcp(), &b = other.tcp();
  return a.acknowledgement == b.acknowledgement && a.window == b.window && a.urgent_pointer == b.urgent_pointer &&
         same_bytes(at, other.at, l4_offset + sizeof(TcpHeader), headers);
}

std::span<const Coalescer::Group> Coalescer::coalesce(std::span<const Bytes> packets, bool udp) noexcept {
  std::array<Open, kOpenGroups> open;
  unsigned opened = 0, groups = 0;
  for (unsigned i = 0; i < packets.size(); ++i) {
    const Flow flow = Flow::of(packets[i]);
    const bool merges = flow.mergeable && (udp || flow.protocol != kProtocolUdp);
    Open* last = nullptr;  // the newest group of this flow
    if (flow.family != Family::kNone) {
      for (Open& one : std::span(open).first(std::min(opened, kOpenGroups)))
        if (one.flow.same_flow(flow)) last = &one;
    }
    if (last != nullptr && merges && append(groups_[last->group], *last, packets, i, flow)) continue;
    Group& group = groups_[groups];
    group = {};
    group.first = group.last = static_cast<uint8_t>(i);
    group.count = 1;
    group.headers = flow.headers;
    // A flow keeps its place, so that at most one group of it can grow.
    if (last == nullptr) last = &open[opened++ % kOpenGroups];
    *last = {};
    last->group = static_cast<uint8_t>(groups++);
    last->closed = !merges || (flow.protocol == kProtocolTcp && (flow.tcp().flags & TcpHeader::kPsh) != 0);
    last->flow = flow;
    last->size = static_cast<uint32_t>(packets[i].size());
    if (flow.protocol == kProtocolTcp && merges) last->next_sequence = flow.tcp().sequence.host() + flow.payload;
  }
  const std::span<Group> result = std::span(groups_).first(groups);
  for (Group& group : result)
    if (group.count > 1) finish(group, packets);
  return result;
}

// The headers of the first packet become those of the whole.
void Coalescer::finish(Group& group, std::span<const Bytes> packets) const noexcept {
  const Bytes first = packets[group.first], last = packets[group.last];
  const size_t segment = first.size() - group.headers;
  const size_t size = first.size() + (group.count - 2u) * segment + (last.size() - group.headers);
  const bool ipv4 = version_of(first) == Family::kIpv4;
  uint8_t protocol;
  if (ipv4) {
    auto& ip = *reinterpret_cast<Ipv4Header*>(first.data());
    protocol = ip.protocol;
    ip.total_length = static_cast<uint16_t>(size);
    ip.checksum = ipv4_header_checksum(ip);
  } else {
    auto& ip = *reinterpret_cast<Ipv6Header*>(first.data());
    protocol = ip.next_header;
    ip.payload_length = static_cast<uint16_t>(size - sizeof ip);
  }
  const size_t l4_offset = ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header), l4_size = size - l4_offset;
  const be16 checksum = partial_checksum(first, l4_size, protocol);
  group.header = {.flags = VnetHeader::kNeedsChecksum,
                  .header_size = group.headers,
                  .segment_size = static_cast<uint16_t>(segment),
                  .checksum_start = static_cast<uint16_t>(l4_offset)};
  if (protocol == kProtocolTcp) {
    group.header.type = ipv4 ? VnetHeader::kTcpIpv4 : VnetHeader::kTcpIpv6;
    group.header.checksum_offset = offsetof(TcpHeader, checksum);
    auto& tcp = *reinterpret_cast<TcpHeader*>(first.data() + l4_offset);
    tcp.flags |= reinterpret_cast<const TcpHeader*>(last.data() + l4_offset)->flags;  // push, if it pushes
    tcp.checksum = checksum;
  } else {
    group.header.type = VnetHeader::kUdp;
    group.header.checksum_offset = offsetof(UdpHeader, checksum);
    auto& udp = *reinterpret_cast<UdpHeader*>(first.data() + l4_offset);
    udp.length = static_cast<uint16_t>(l4_size);
    udp.checksum = checksum;
  }
}

// True: the packet has become a part of the group. Checksums are looked at here, and only here: the kernel trusts what
// a super-frame says, but a packet alone it checks itself.
bool Coalescer::append(Group& group, Open& open, std::span<const Bytes> packets, unsigned index,
                       const Flow& flow) noexcept {
  const bool tcp = flow.protocol == kProtocolTcp;
  const uint16_t segment = open.flow.payload;
  if (open.closed || flow.payload > segment || group.count == kMaxSegments || !open.flow.continues(flow)) return false;
  if (open.size + flow.payload > kMaxSuperFrame) return false;
  if (tcp && flow.tcp().sequence.host() != open.next_sequence) return false;
  if (flow.family == Family::kIpv4) {  // cut again, the packets are numbered on
    const auto *first = reinterpret_cast<const Ipv4Header*>(open.flow.at),
               *ip = reinterpret_cast<const Ipv4Header*>(flow.at);
    if (!ip->dont_fragment() && ip->id.host() != static_cast<uint16_t>(first->id.host() + group.count)) return false;
  }
  if (!open.first_good) open.first_good = transport_checksum_holds(packets[group.first], flow.l4_offset, flow.protocol);
  if (!open.first_good || !transport_checksum_holds(packets[index], flow.l4_offset, flow.protocol)) return false;
  next_[group.last] = static_cast<uint8_t>(index);
  group.last = static_cast<uint8_t>(index);
  ++group.count;
  open.size += flow.payload;
  open.next_sequence += flow.payload;
  open.closed = flow.payload < segment || (tcp && (flow.tcp().flags & TcpHeader::kPsh) != 0);
  return true;
}

}  // namespace sluice
