// Frames from a port, in this order:
//   parse_frames   one segment, our MAC address, VLAN, IP header sound, Ethernet padding cut off; what is not IP is
//                  Linux's
//   take_messages  UDP datagrams to an own address are put together if they came in fragments; those to a listen port
//                  become WireGuard messages, what else is for us is Linux's. Nothing is remembered of them: whoever
//                  sends from ever new addresses takes no place of the flows that are forwarded
//   find_flows     what the tables say of the others (recent_flows.h)
//   take_leases    while the port has no IPv4 address: what a DHCP server says to it is Linux's
// The messages go on in inbound.cc, everything else in forward.cc.
#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

#include "dataplane/base/equal_bytes.h"
#include "dataplane/pipeline/last_socket.h"
#include "dataplane/pipeline/line.h"
#include "dataplane/pipeline/punt.h"
#include "dataplane/pipeline/reassembly.h"
#include "dataplane/pipeline/source_check.h"
#include "dataplane/pipeline/stages.h"
#include "dataplane/port/port_counters.h"
#include "dataplane/wire/ip.h"

namespace sluice {
namespace {

constexpr unsigned kPrefetchAhead = 4;

// The first 16 bytes of a frame to a port, without a tag, as two words.
struct FrameStart {
  uint64_t first, second;
  static FrameStart of(const std::byte* frame) noexcept {
    FrameStart start;
    std::memcpy(&start, frame, sizeof start);
    return start;
  }
};

// What nearly every frame is: to our MAC address, untagged, IPv4 without options or IPv6.
class PlainFrames {
 public:
  explicit PlainFrames(const PortView& port) noexcept {
    std::array<std::byte, sizeof(FrameStart)> frame{};
    std::memcpy(frame.data(), port.mac.bytes.data(), sizeof port.mac.bytes);
    to_us_ = port.by_vlan.empty() ? FrameStart::of(frame.data()).first : ~kAddress;  // with tags no frame is plain
    ipv4_ = second_word(kEtherTypeIpv4, 0x45);
    ipv6_ = second_word(kEtherTypeIpv6, 0x60);
  }
  // Of a frame of 16 bytes or more; kNone: anything else.
  Family of(const std::byte* frame) const noexcept {
    const FrameStart start = FrameStart::of(frame);
    if ((start.first & kAddress) != to_us_) return Family::kNone;
    if ((start.second & kTypeAndOctet) == ipv4_) return Family::kIpv4;
    return (start.second & kTypeAndVersion) == ipv6_ ? Family::kIpv6 : Family::kNone;
  }

 private:
  static uint64_t second_word(uint16_t ether_type, uint8_t version) noexcept {
    std::array<std::byte, sizeof(FrameStart)> frame{};
    const be16 type(ether_type);
    std::memcpy(frame.data() + offsetof(EthernetHeader, ether_type), &type, sizeof type);
    frame[sizeof(EthernetHeader)] = static_cast<std::byte>(version);
    return FrameStart::of(frame.data()).second;
  }
  // As they lie in memory, on a little-endian machine.
  static constexpr uint64_t kAddress = 0x0000ffffffffffff, kTypeAndOctet = 0x00ffffff00000000,
                            kTypeAndVersion = 0x00f0ffff00000000;
  static_assert(std::endian::native == std::endian::little && offsetof(EthernetHeader, ether_type) == 12);
  uint64_t to_us_, ipv4_, ipv6_;
};

enum class Verdict : uint8_t { kGood, kBad, kUnknown };

Verdict ip_verdict(const rte_mbuf* m) noexcept {
  const uint64_t flags = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
  if (flags == RTE_MBUF_F_RX_IP_CKSUM_GOOD) return Verdict::kGood;
  return flags == RTE_MBUF_F_RX_IP_CKSUM_BAD ? Verdict::kBad : Verdict::kUnknown;
}

Verdict l4_verdict(const rte_mbuf* m) noexcept {
  const uint64_t flags = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
  if (flags == RTE_MBUF_F_RX_L4_CKSUM_GOOD) return Verdict::kGood;
  return flags == RTE_MBUF_F_RX_L4_CKSUM_BAD ? Verdict::kBad : Verdict::kUnknown;
}

bool discard(WorkerContext& context, rte_mbuf* m, Drop reason) noexcept {
  context.drop(m, reason);
  return false;
}

// What follows the link-layer header of a plain IPv4 frame is as long as it says, and its header's checksum is right.
// Of any other parse_ipv4 says what is wrong.
[[gnu::always_inline]] inline bool is_sound_ipv4(const rte_mbuf* m, const Ipv4Header& ip, size_t size) noexcept {
  const size_t total = ip.total_length.host();
  if (size < sizeof ip || total < sizeof ip || total > size) return false;
  const Verdict verdict = ip_verdict(m);
  return verdict == Verdict::kGood || (verdict == Verdict::kUnknown && ipv4_sum_holds(ip));
}

bool parse_ipv4(WorkerContext& context, rte_mbuf* m) noexcept {
  const ConstBytes packet = bytes_of(m);
  if (packet.size() < sizeof(Ipv4Header)) return discard(context, m, Drop::frame_malformed);
  const auto* ip = reinterpret_cast<const Ipv4Header*>(packet.data());
  const size_t total = ip->total_length.host(), header_size = ip->header_size();
  if (version_of(packet) != Family::kIpv4 || header_size < sizeof *ip || header_size > packet.size())
    return discard(context, m, Drop::frame_malformed);
  if (total < header_size) return discard(context, m, Drop::frame_malformed);
  const Verdict verdict = ip_verdict(m);
  if (verdict == Verdict::kBad || (verdict == Verdict::kUnknown && !ipv4_checksum_holds(*ip)))
    return discard(context, m, Drop::ip_checksum);
  if (total > packet.size()) return discard(context, m, Drop::frame_truncated);
  resize(m, total);  // link-layer padding is no part of it
  return true;
}

bool parse_ipv6(WorkerContext& context, rte_mbuf* m) noexcept {
  const ConstBytes packet = bytes_of(m);
  if (packet.size() < sizeof(Ipv6Header) || version_of(packet) != Family::kIpv6)
    return discard(context, m, Drop::frame_malformed);
  const size_t total = sizeof(Ipv6Header) + reinterpret_cast<const Ipv6Header*>(packet.data())->payload_length.host();
  if (total > packet.size()) return discard(context, m, Drop::frame_truncated);
  resize(m, total);
  return true;
}

// The VLAN of a frame, whose tag is gone afterwards, in hardware or here; 0: none, or a priority alone.
uint16_t take_vlan(rte_mbuf* m) noexcept {
  if ((m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0) return m->vlan_tci & VlanTag::kVlanMask;
  constexpr size_t kAddresses = offsetof(EthernetHeader, ether_type);
  auto* frame = rte_pktmbuf_mtod(m, std::byte*);
  const auto* tag = reinterpret_cast<const VlanTag*>(frame + kAddresses);
  if (tag->ether_type.host() != kEtherTypeVlan) return 0;
  const uint16_t vlan = tag->vlan();
  std::memmove(frame + sizeof *tag, frame, kAddresses);
  cut_front(m, sizeof *tag);
  return vlan;
}

// False: nobody has that VLAN. Afterwards the frame is untagged, and its port's.
bool sort_by_vlan(WorkerContext& context, const PortView& port, rte_mbuf* m) noexcept {
  if (rte_pktmbuf_data_len(m) < kMaxLinkHeader) return discard(context, m, Drop::frame_malformed);
  const uint16_t vlan = take_vlan(m);
  const PortId owner = vlan < port.by_vlan.size() ? port.by_vlan[vlan] : vlan == 0 ? port.id : kNoPort;
  if (owner == kNoPort) return discard(context, m, Drop::vlan_unknown);
  meta(m).from.in_port = owner;
  if (LivePortCounters* arrivals = context.published->ports[owner.value].arrivals) {
    LivePortCounters::add(arrivals[context.id.value].rx_packets, 1);
    LivePortCounters::add(arrivals[context.id.value].rx_bytes, rte_pktmbuf_data_len(m));
  }
  return true;
}

// A frame's IP packet, whose type says which: rte_pktmbuf_mtod at its header. False: it is not sound.
bool parse_ip(WorkerContext& context, rte_mbuf* m, Family family) noexcept {
  cut_front(m, sizeof(EthernetHeader));
  meta(m).from.family = family;
  return family == Family::kIpv4 ? parse_ipv4(context, m) : parse_ipv6(context, m);
}

// A frame of any other kind. True: a sound IP packet for us to route.
[[gnu::noinline]] bool parse_rare_frame(WorkerContext& context, const PortView& port, rte_mbuf* m) noexcept {
  if (m->nb_segs != 1 && rte_pktmbuf_linearize(m) != 0) return discard(context, m, Drop::frame_too_long);
  if (rte_pktmbuf_data_len(m) < sizeof(EthernetHeader)) return discard(context, m, Drop::frame_malformed);
  const auto* ethernet = rte_pktmbuf_mtod(m, const EthernetHeader*);
  const bool multicast = (ethernet->destination[0] & 1) != 0;
  if (!multicast && !equal_bytes<6>(ethernet->destination.data(), port.mac.bytes.data()))
    return discard(context, m, Drop::not_for_us);
  uint16_t type = ethernet->ether_type.host();
  if (type == kEtherTypeVlan || !port.by_vlan.empty()) {
    if (!sort_by_vlan(context, port, m)) return false;
    type = rte_pktmbuf_mtod(m, const EthernetHeader*)->ether_type.host();
  }
  if (!multicast && type == kEtherTypeIpv4) return parse_ip(context, m, Family::kIpv4);
  if (!multicast && type == kEtherTypeIpv6) return parse_ip(context, m, Family::kIpv6);
  cut_front(m, sizeof(EthernetHeader));
  context.punts->punt(m, PuntReason::kLocal, context.now);
  return false;
}

[[gnu::always_inline]] inline bool parse_frame(WorkerContext& context, const PortView& port, const PlainFrames& plain,
                                               const Arrivals& arrivals, rte_mbuf* m) noexcept {
  const auto* frame = rte_pktmbuf_mtod(m, const std::byte*);
  const size_t size = rte_pktmbuf_data_len(m);
  const bool whole = m->nb_segs == 1 && size >= sizeof(FrameStart);
  const Family family = whole ? plain.of(frame) : Family::kNone;
  meta(m).from = arrivals.of(family);
  meta(m).l2_size = sizeof(EthernetHeader);
  if (family == Family::kIpv4) [[likely]] {
    const auto& ip = *reinterpret_cast<const Ipv4Header*>(frame + sizeof(EthernetHeader));
    if (!is_sound_ipv4(m, ip, size - sizeof(EthernetHeader))) [[unlikely]]
      return parse_ip(context, m, family);
    m->data_off = static_cast<uint16_t>(m->data_off + sizeof(EthernetHeader));
    resize(m, ip.total_length.host());  // link-layer padding is no part of it
    return true;
  }
  return family == Family::kIpv6 ? parse_ip(context, m, family) : parse_rare_frame(context, port, m);
}

// Frames to sound IP packets.
void parse_frames(WorkerContext& context, const PortView& port, Burst& frames) noexcept {
  const auto prefetch = [&](unsigned i) {
    rte_prefetch0(rte_pktmbuf_mtod(frames.packets[i], void*));
    rte_prefetch0(rte_mbuf_to_priv(frames.packets[i]));
  };
  for (unsigned i = 0; i < frames.count && i < kPrefetchAhead; ++i) prefetch(i);
  const PlainFrames plain(port);
  const Arrivals arrivals({.in_port = port.id,
                           .tunnel = kNoTunnel,
                           .worker = context.id,
                           .origin = Origin::kNetwork,
                           .family = Family::kNone,
                           .zero = 0});
  const unsigned count = frames.count;
  unsigned kept = 0;
  for (unsigned i = 0; i < count; ++i) {
    if (i + kPrefetchAhead < count) prefetch(i + kPrefetchAhead);
    rte_mbuf* const m = frames.packets[i];
    if (parse_frame(context, port, plain, arrivals, m)) frames.packets[kept++] = m;
  }
  frames.count = kept;
}

// Where UDP starts in a packet to one of our addresses, or where it would in a fragment that is not the first. 0: not
// UDP, or not to be had without looking further than Linux does for us.
size_t udp_offset(const Ipv4Header& ip, size_t) noexcept {
  return ip.protocol == kProtocolUdp && ip.destination[0] < 224 ? ip.header_size() : 0;
}
size_t udp_offset(const Ipv6Header& ip, size_t packet_size) noexcept {
  if (ip.destination[0] == 0xff) return 0;
  if (ip.next_header == kProtocolUdp) return sizeof ip;
  if (ip.next_header != kProtocolIpv6Fragment || packet_size < sizeof ip + sizeof(Ipv6FragmentHeader)) return 0;
  const auto* fragment = reinterpret_cast<const Ipv6FragmentHeader*>(&ip + 1);
  return fragment->next_header == kProtocolUdp ? sizeof ip + sizeof *fragment : 0;
}
template <class IpHeader>
size_t udp_offset(rte_mbuf* m) noexcept {
  return udp_offset(*rte_pktmbuf_mtod(m, const IpHeader*), rte_pktmbuf_data_len(m));
}

// The part of a data message's checksum that stands in front of the ciphertext. Without options the addresses are right
// in front of the UDP header.
template <class IpHeader>
uint32_t sum_of_headers(const UdpHeader& udp) noexcept {
  constexpr size_t kAddresses = sizeof(IpHeader::source) + sizeof(IpHeader::destination);
  const uint64_t rest_of_pseudo_header = checksum_word(be16(kProtocolUdp)) + checksum_word(udp.length);
  const auto* from = reinterpret_cast<const std::byte*>(&udp) - kAddresses;
  return checksum_of<kAddresses + sizeof udp + sizeof(DataHeader)>(from, rest_of_pseudo_header);
}

// RFC 768, RFC 8200 section 8.1; `l4` starts at `offset` and ends where the UDP length says. A data message's is left
// to the cipher, which reads all of it anyway (PacketMeta::partial_sum).
template <class IpHeader>
[[gnu::always_inline]] inline bool udp_checksum_may_hold(rte_mbuf* m, size_t offset, ConstBytes l4,
                                                         MessageType type) noexcept {
  const auto& udp = *reinterpret_cast<const UdpHeader*>(l4.data());
  meta(m).partial_sum = 0;
  if (udp.checksum.host() == 0) return std::is_same_v<IpHeader, Ipv4Header>;
  const Verdict verdict = l4_verdict(m);
  if (verdict != Verdict::kUnknown) return verdict == Verdict::kGood;
  const bool no_options = offset == sizeof(IpHeader);
  if (no_options && type == MessageType::kData) [[likely]] {
    meta(m).partial_sum = sum_of_headers<IpHeader>(udp);
    return true;
  }
  return transport_checksum(source_of(bytes_of(m)), destination_of(bytes_of(m)), kProtocolUdp, l4) == 0;
}

// What is wrong with the sources of messages (source_check.h). Those of one peer come in runs, which are asked about
// once. A burst may be several ports' (VLANs), and what is wrong with a source depends on the port.
class Sources {
 public:
  template <class IpHeader>
  [[gnu::always_inline]] inline Drop fault_of(const WorkerContext& context, rte_mbuf* m, const IpHeader& ip) noexcept {
    constexpr size_t kSize = sizeof ip.source;
    if (from_ != meta(m).from || !equal_bytes<kSize>(ip.source.data(), source_.data())) {
      std::memcpy(source_.data(), ip.source.data(), kSize);
      from_ = meta(m).from;
      fault_ = source_fault(context, m);
    }
    return fault_;
  }

 private:
  std::array<std::byte, sizeof(Ipv6Header::source)> source_{};
  Arrival from_{};  // family kNone: none yet
  Drop fault_ = Drop::count_;
};

// Moves packets that are datagrams to a listen port into `messages`.
class MessageSorter {
 public:
  MessageSorter(WorkerContext& context, Messages& messages) noexcept : context_(context), messages_(messages) {}

  // False: it is not to one of our addresses.
  bool take(rte_mbuf* m) noexcept {
    return meta(m).from.family == Family::kIpv4 ? take<Ipv4Header>(m, socket_ipv4_) : take<Ipv6Header>(m, socket_ipv6_);
  }

 private:
  template <class IpHeader>
  [[gnu::always_inline]] inline bool take(rte_mbuf* m, LastSocket<IpHeader>& socket) noexcept {
    const auto* packet = rte_pktmbuf_mtod(m, const std::byte*);
    if (rte_pktmbuf_data_len(m) >= socket.kHeaders && socket.is_of(packet)) [[likely]] {
      take_datagram<IpHeader>(m, sizeof(IpHeader));
      return true;
    }
    if (!is_local(*reinterpret_cast<const IpHeader*>(packet))) return false;
    if (!take_if_message(m, socket)) context_.punts->punt(m, PuntReason::kLocal, context_.now);
    return true;
  }
  bool is_local(const Ipv4Header& ip) const noexcept {
    return context_.published->fib.is_local_ipv4(ip.destination.data());
  }
  bool is_local(const Ipv6Header& ip) const noexcept {
    return context_.published->fib.is_local_ipv6(ip.destination.data());
  }

  // Of a packet to one of our addresses. True: it was that, and is taken, dropped, or a fragment of it waits for
  // others.
  template <class IpHeader>
  [[gnu::noinline]] bool take_if_message(rte_mbuf*& m, LastSocket<IpHeader>& socket) noexcept {
    size_t offset = udp_offset<IpHeader>(m);
    if (offset == 0) return false;
    if (is_fragment(m)) {
      m = context_.reassembly->add(m, context_.now);
      if (m == nullptr) return true;
      offset = udp_offset<IpHeader>(m);
    }
    const ConstBytes l4 = bytes_of(m).subspan(offset);
    if (l4.size() < sizeof(UdpHeader)) {
      context_.drop(m, Drop::udp_length);
      return true;
    }
    const auto& udp = *reinterpret_cast<const UdpHeader*>(l4.data());
    if (!context_.published->is_listen_port(udp.destination_port.host())) return false;
    if (offset == sizeof(IpHeader)) socket.remember(rte_pktmbuf_mtod(m, const std::byte*));
    take_datagram<IpHeader>(m, offset);
    return true;
  }

  // A datagram to a listen port, whose UDP header, at `offset`, is all there.
  template <class IpHeader>
  [[gnu::always_inline]] inline void take_datagram(rte_mbuf* m, size_t offset) noexcept {
    const auto& ip = *rte_pktmbuf_mtod(m, const IpHeader*);
    const ConstBytes l4 = bytes_of(m).subspan(offset);
    const auto& udp = *reinterpret_cast<const UdpHeader*>(l4.data());
    const size_t length = udp.length.host();
    if (length < sizeof udp || length > l4.size()) return context_.drop(m, Drop::udp_length);
    const MessageType type = classify(l4.first(length).subspan(sizeof udp));
    if (!udp_checksum_may_hold<IpHeader>(m, offset, l4.first(length), type))
      return context_.drop(m, Drop::udp_checksum);
    if (const Drop fault = sources_.fault_of(context_, m, ip); fault != Drop::count_) return context_.drop(m, fault);

    PacketMeta& about = meta(m);
    about.outer_class = ecn_of(ip);
    about.outer_size = static_cast<uint8_t>(offset + sizeof udp);
    m->data_off = static_cast<uint16_t>(m->data_off + about.outer_size);
    resize(m, length - sizeof udp);
    messages_.add(context_, m, type);
  }

  WorkerContext& context_;
  Messages& messages_;
  LastSocket<Ipv4Header> socket_ipv4_;
  LastSocket<Ipv6Header> socket_ipv6_;
  Sources sources_;
};

void take_messages(WorkerContext& context, Burst& packets, Messages& messages) noexcept {
  MessageSorter sorter(context, messages);
  keep_if(packets, [&](rte_mbuf* m) {
    if (sorter.take(m)) return false;
    context.recent_flows.ask_for(m);
    return true;
  });
}

// DHCP over IPv4 to a client, in one piece.
bool is_lease(ConstBytes packet) noexcept {
  constexpr uint16_t kBootpClient = 68;
  if (version_of(packet) != Family::kIpv4) return false;
  const auto* ip = reinterpret_cast<const Ipv4Header*>(packet.data());
  const size_t offset = ip->header_size();
  if (ip->protocol != kProtocolUdp || ip->is_fragment() || packet.size() < offset + sizeof(UdpHeader)) return false;
  return reinterpret_cast<const UdpHeader*>(packet.data() + offset)->destination_port.host() == kBootpClient;
}

// A server sends its offer to the address that it offers (RFC 2131, section 4.1), which is nobody's yet.
void take_leases(WorkerContext& context, Burst& packets) noexcept {
  keep_if(packets, [&](rte_mbuf* m) {
    if (context.published->ports[meta(m).from.in_port.value].has_ipv4 || !is_lease(bytes_of(m))) return true;
    context.punts->punt(m, PuntReason::kLocal, context.now);
    return false;
  });
}

}  // namespace

void process_datagrams(WorkerContext& context, PortId in, Burst& datagrams) noexcept {
  StageClock clock(*context.stats);
  Messages messages;
  for (rte_mbuf* m : datagrams.all()) {
    const ConstBytes packet = bytes_of(m);
    const Family family = version_of(packet);
    const size_t ip_size = family == Family::kIpv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
    const auto outer_size = static_cast<uint8_t>(ip_size + sizeof(UdpHeader));
    PacketMeta& about = meta(m);
    about.from = {.in_port = in,
                  .tunnel = kNoTunnel,
                  .worker = context.id,
                  .origin = Origin::kNetwork,
                  .family = family,
                  .zero = 0};
    about.l2_size = 0;
    about.outer_class = ecn_of(packet);
    about.outer_size = outer_size;
    about.partial_sum = 0;
    cut_front(m, outer_size);
    messages.add(context, m, classify(bytes_of(m)));
  }
  clock.finished(Stage::parse_frames, datagrams.count);
  receive_messages(context, messages, clock);
  context.punts->flush();
}

void process_packets(WorkerContext& context, PortId in, Burst& packets) noexcept {
  const TunnelId tunnel =
      in.value < context.published->ports.size() ? context.published->ports[in.value].tunnel : kNoTunnel;
  for (rte_mbuf* m : packets.all()) meta(m).from = {.in_port = kNoPort, .tunnel = tunnel, .worker = context.id};
  process_tunnel_bound(context, packets);
}

void process_frames(WorkerContext& context, PortId in, Burst& frames) noexcept {
  if (in.value >= context.published->ports.size()) {
    for (rte_mbuf* m : frames.all()) context.drop(m, Drop::port_gone);
    return;
  }
  StageClock clock(*context.stats);
  const unsigned received = frames.count;
  parse_frames(context, context.published->ports[in.value], frames);
  clock.finished(Stage::parse_frames, received);

  Messages messages;
  const unsigned sound = frames.count;
  take_messages(context, frames, messages);
  clock.finished(Stage::take_messages, sound);

  find_flows(context, frames, clock);
  receive_messages(context, messages, clock);
  if (context.published->awaits_leases) [[unlikely]]
    take_leases(context, frames);
  if (!frames.empty()) forward_packets(context, frames, clock);
  context.punts->flush();
  clock.finished(Stage::punt, 0);
}

}  // namespace sluice
