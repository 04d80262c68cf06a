// IP packets on their way: where the forwarding table sends them, and the work of a router (RFC 1812, RFC 8200).
//   look_up_destination  meta.next_hop
//   forward_packets      ours or Linux's -> punt; martian sources; routes that refuse; TTL; MTU; then out of a port
//                        behind its link-layer header, or on to the tunnels (outbound.cc)
#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

#include "dataplane/pipeline/fragment.h"
#include "dataplane/pipeline/line.h"
#include "dataplane/pipeline/punt.h"
#include "dataplane/pipeline/stages.h"
#include "dataplane/pipeline/transmit.h"
#include "dataplane/wire/ip.h"
#include "dataplane/wire/mss_clamp.h"

namespace sluice {
namespace {

using Action = NextHop::Action;

const void* address_of(rte_mbuf* m, Side side) noexcept {
  const std::byte* at = ip_header_of(m);
  if (version_of({at, 1}) == Family::kIpv4) {
    const auto* ip = reinterpret_cast<const Ipv4Header*>(at);
    return side == Side::kSource ? ip->source.data() : ip->destination.data();
  }
  const auto* ip = reinterpret_cast<const Ipv6Header*>(at);
  return side == Side::kSource ? ip->source.data() : ip->destination.data();
}

Family family_of(rte_mbuf* m) noexcept { return version_of({ip_header_of(m), 1}); }

bool is_no_source_ipv4(const uint8_t* a) noexcept {
  const bool broadcast = a[0] == 255 && a[1] == 255 && a[2] == 255 && a[3] == 255;
  return a[0] == 0 || a[0] == 127 || (a[0] >= 224 && a[0] < 240) || broadcast;
}

// Unspecified and loopback, v4-mapped (RFC 4942, section 2.2), multicast.
bool is_no_source_ipv6(const uint8_t* a) noexcept {
  static constexpr uint8_t kZeros[15]{};
  static constexpr uint8_t kMapped[12]{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return a[0] == 0xff || std::memcmp(a, kMapped, sizeof kMapped) == 0 ||
         (std::memcmp(a, kZeros, sizeof kZeros) == 0 && a[15] <= 1);
}

bool is_no_source(rte_mbuf* m) noexcept {
  const auto* address = static_cast<const uint8_t*>(address_of(m, Side::kSource));
  return family_of(m) == Family::kIpv4 ? is_no_source_ipv4(address) : is_no_source_ipv6(address);
}

// A router never passes on what comes from a link-local address (RFC 4291, section 2.5.6).
bool is_ipv6_link_local_source(rte_mbuf* m) noexcept {
  if (family_of(m) != Family::kIpv6) return false;
  const auto* a = static_cast<const uint8_t*>(address_of(m, Side::kSource));
  return a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
}

void punt_what_is_not_forwarded(WorkerContext& context, Burst& packets) noexcept {
  keep_if(packets, [&](rte_mbuf* m) {
    const Action action = meta(m).next_hop->action;
    if (action != Action::kLocal && action != Action::kLinux) return true;
    context.punts->punt(m, action == Action::kLocal ? PuntReason::kLocal : PuntReason::kLinux, context.now);
    return false;
  });
}

void refuse(WorkerContext& context, Burst& packets) noexcept {
  keep_if(packets, [&](rte_mbuf* m) {
    switch (meta(m).next_hop->action) {
      case Action::kUnreachable:
        context.punts->reject(m, PuntReason::kNoRoute, Drop::no_route, context.now);
        break;
      case Action::kProhibit:
        context.punts->reject(m, PuntReason::kProhibited, Drop::route_prohibited, context.now);
        break;
      case Action::kBlackhole:
        context.drop(m, Drop::route_blackhole);
        break;
      default:
        return true;
    }
    return false;
  });
}

// False: it had no hop left.
bool decrement_hops(rte_mbuf* m) noexcept {
  if (family_of(m) == Family::kIpv6) {
    auto* ip = rte_pktmbuf_mtod(m, Ipv6Header*);
    return ip->hop_limit > 1 && --ip->hop_limit != 0;
  }
  auto* ip = rte_pktmbuf_mtod(m, Ipv4Header*);
  if (ip->ttl <= 1) return false;
  const auto before = static_cast<uint16_t>(ip->ttl << 8 | ip->protocol);
  ip->checksum = checksum_adjust(ip->checksum.host(), before, static_cast<uint16_t>(before - 0x100));
  --ip->ttl;
  return true;
}

void spend_hops(WorkerContext& context, Burst& packets) noexcept {
  keep_if(packets, [&](rte_mbuf* m) {
    if (!is_ipv6_link_local_source(m)) {
      if (decrement_hops(m)) return true;
      context.punts->reject(m, PuntReason::kTtlExceeded, Drop::ttl_exceeded, context.now);
    } else {
      context.drop(m, Drop::martian_source);
    }
    return false;
  });
}

// Largest packet that this way takes; UINT16_MAX if nobody knows a limit.
uint16_t mtu_of(const Published& published, const NextHop& hop) noexcept {
  uint16_t mtu = hop.mtu != 0 ? hop.mtu : UINT16_MAX;
  if (hop.action != Action::kTunnel) return mtu;
  const TunnelView* tunnel = tunnel_that_is_up(published, hop.tunnel);
  if (tunnel != nullptr && tunnel->mtu != 0) mtu = std::min(mtu, tunnel->mtu);
  return mtu;
}

// One burst of packets on their way out: collects those for tunnels, so that they are sealed together.
class Egress {
 public:
  Egress(WorkerContext& context, StageClock& clock) noexcept : context_(context), clock_(clock) {}

  // The packet fits (or is not our business to split).
  void send(rte_mbuf* m) noexcept {
    const NextHop& hop = *meta(m).next_hop;
    switch (hop.action) {
      case Action::kPort:
        send_to_port(m, hop);
        break;
      case Action::kTunnel:
        send_to_tunnel(m, hop);
        break;
      default:
        context_.punts->punt(m, PuntReason::kResolve, context_.now);
        break;
    }
  }
  void send_in_fragments(rte_mbuf* m, uint16_t mtu) noexcept {
    Fragments fragments = fragment_ipv4(m, mtu, context_.pool);
    if (fragments.count == 0) return context_.drop(m, Drop::no_buffer);
    for (rte_mbuf* fragment : fragments.all()) send(fragment);
    rte_pktmbuf_free(m);
  }
  void finish() noexcept {
    if (!to_tunnels_.empty()) encapsulate(context_, to_tunnels_, clock_);
    to_tunnels_.count = 0;
  }

 private:
  void send_to_port(rte_mbuf* m, const NextHop& hop) noexcept {
    char* header = rte_pktmbuf_prepend(m, hop.l2_size);
    if (header == nullptr) return context_.drop(m, Drop::no_headroom);
    std::memcpy(header, hop.l2_header.data(), hop.l2_size);
    context_.transmit->push(hop.port, m);
  }
  void send_to_tunnel(rte_mbuf* m, const NextHop& hop) noexcept {
    meta(m).tunnel = hop.tunnel;
    to_tunnels_.push(m);
    if (to_tunnels_.full()) finish();
  }

  WorkerContext& context_;
  StageClock& clock_;
  Burst to_tunnels_;
};

void send_or_split(WorkerContext& context, rte_mbuf* m, Egress& egress) noexcept {
  const uint16_t mtu = mtu_of(*context.published, *meta(m).next_hop);
  if (rte_pktmbuf_data_len(m) <= mtu) return egress.send(m);
  if (family_of(m) == Family::kIpv4 && !rte_pktmbuf_mtod(m, const Ipv4Header*)->dont_fragment())
    return egress.send_in_fragments(m, mtu);
  meta(m).mtu = mtu;
  context.punts->reject(m, PuntReason::kTooBig, Drop::too_big, context.now);
}

}  // namespace

void look_up(const PrefixView& map, std::span<rte_mbuf*> packets, Side side, std::span<uint32_t> values) noexcept {
  const void* addresses[kMaxBurst];
  uint32_t found[kMaxBurst];
  uint16_t index[kMaxBurst];
  // IPv4 from the front, IPv6 from the back.
  unsigned n4 = 0, n6 = 0;
  for (unsigned i = 0; i < packets.size(); ++i) {
    const unsigned slot = family_of(packets[i]) == Family::kIpv4 ? n4++ : kMaxBurst - ++n6;
    addresses[slot] = address_of(packets[i], side);
    index[slot] = static_cast<uint16_t>(i);
  }
  if (n4 != 0) map.find_burst_ipv4({addresses, n4}, {found, n4});
  const unsigned back = kMaxBurst - n6;
  if (n6 != 0) map.find_burst_ipv6({addresses + back, n6}, {found + back, n6});
  for (unsigned i = 0; i < n4; ++i) values[index[i]] = found[i];
  for (unsigned i = back; i < kMaxBurst; ++i) values[index[i]] = found[i];
}

namespace {

// RFC 3704, section 2. Packets out of tunnels have been asked more by their peer's allowed IPs.
bool leads_back(const Published& published, const NextHop& back, PortId in) noexcept {
  if (in.value >= published.ports.size()) return true;
  switch (published.ports[in.value].reverse_path) {
    case ReversePath::kAny:
      return true;
    case ReversePath::kRouted:
      return back.action != Action::kUnreachable && back.action != Action::kBlackhole &&
             back.action != Action::kProhibit;
    case ReversePath::kSamePort:
      return (back.action == Action::kPort || back.action == Action::kUnresolved) && back.port == in;
  }
  return true;
}

}  // namespace

void drop_martians(WorkerContext& context, Burst& packets) noexcept {
  const Fib& fib = context.published->fib;
  const bool checks_reverse_path = context.published->checks_reverse_path;
  uint32_t values[kMaxBurst];
  look_up(fib.routes(), packets.all(), Side::kSource, values);
  unsigned i = 0;
  keep_if(packets, [&](rte_mbuf* m) {
    // All of fe80::/10 is local in the table: it cannot tell our own link-local addresses from a neighbour's.
    const NextHop& back = fib.at(values[i++]);
    const bool link_local = is_ipv6_link_local_source(m);
    if ((back.action == Action::kLocal && !link_local) || is_no_source(m)) {
      context.drop(m, Drop::martian_source);
      return false;
    }
    if (!checks_reverse_path || link_local || leads_back(*context.published, back, meta(m).in_port)) return true;
    context.drop(m, Drop::reverse_path);
    return false;
  });
}

void clamp_segments(const TunnelView& tunnel, const Peer& peer, std::span<rte_mbuf*> packets) noexcept {
  if (!tunnel.mss_clamp) return;
  const OuterRoute* outer = peer.outer.load(std::memory_order_acquire);
  const uint16_t mtu = outer != nullptr ? std::min(tunnel.mtu, outer->inner_mtu) : tunnel.mtu;
  for (rte_mbuf* m : packets) clamp_mss(bytes_of(m), mtu);
}

const TunnelView* tunnel_that_is_up(const Published& published, TunnelId id) noexcept {
  if (id.value >= published.tunnels.size()) return nullptr;
  const TunnelView& tunnel = published.tunnels[id.value];
  return tunnel.up ? &tunnel : nullptr;
}

void look_up_destination(WorkerContext& context, Burst& packets) noexcept {
  const Fib& fib = context.published->fib;
  uint32_t values[kMaxBurst];
  look_up(fib.routes(), packets.all(), Side::kDestination, values);
  for (unsigned i = 0; i < packets.count; ++i) meta(packets.packets[i]).next_hop = &fib.at(values[i]);
}

void forward_packets(WorkerContext& context, Burst& packets, Origin origin, StageClock& clock) noexcept {
  const unsigned arrived = packets.count;
  punt_what_is_not_forwarded(context, packets);
  if (origin == Origin::kNetwork) drop_martians(context, packets);
  refuse(context, packets);
  if (origin == Origin::kNetwork) spend_hops(context, packets);
  Egress egress(context, clock);
  for (rte_mbuf* m : packets.all()) send_or_split(context, m, egress);
  clock.finished(Stage::forward, arrived);
  egress.finish();
}

void process_own(WorkerContext& context, Burst& packets) noexcept {
  StageClock clock(*context.stats);
  for (rte_mbuf* m : packets.all()) meta(m).outer_size = 0;
  look_up_destination(context, packets);
  clock.finished(Stage::look_up_destination, packets.count);
  forward_packets(context, packets, Origin::kOurs, clock);
  context.punts->flush();
}

}  // namespace sluice
