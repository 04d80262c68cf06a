// IP packets on their way: where the forwarding table sends them, and the work of a router (RFC 1812, RFC 8200).
//   look_up_destination  meta.next_hop
//   forward_packets      ours or Linux's -> punt; martian sources; routes that refuse; TTL; MTU; then out of a port
//                        behind its link-layer header, or on to the tunnels (outbound.cc)
#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

#include "dataplane/pipeline/fragment.h"
#include "dataplane/pipeline/line.h"
#include "dataplane/pipeline/martian.h"
#include "dataplane/pipeline/punt.h"
#include "dataplane/pipeline/stages.h"
#include "dataplane/pipeline/transmit.h"
#include "dataplane/wire/ip.h"
#include "dataplane/wire/mss_clamp.h"

namespace sluice {
namespace {

using Action = NextHop::Action;

bool leads_nowhere(Action action) noexcept {
  static_assert(Action::kUnreachable > Action::kUnresolved && Action::kProhibit > Action::kUnresolved &&
                Action::kBlackhole > Action::kUnresolved);
  return action > Action::kUnresolved;
}

// Disposes of a packet whose route leads nowhere.
void refuse(WorkerContext& context, rte_mbuf* m, Action action) noexcept {
  switch (action) {
    case Action::kUnreachable:
      return context.punts->reject(m, PuntReason::kNoRoute, Drop::no_route, context.now);
    case Action::kProhibit:
      return context.punts->reject(m, PuntReason::kProhibited, Drop::route_prohibited, context.now);
    default:
      return context.drop(m, Drop::route_blackhole);
  }
}

// False: it had no hop left.
bool decrement_hops(rte_mbuf* m) noexcept {
  if (family_of(m) == Family::kIpv6) {
    auto* ip = rte_pktmbuf_mtod(m, Ipv6Header*);
    return ip->hop_limit > 1 && --ip->hop_limit != 0;
  }
  auto* ip = rte_pktmbuf_mtod(m, Ipv4Header*);
  if (ip->ttl <= 1) return false;
  --ip->ttl;
  ip->checksum = checksum_of_one_hop_less(ip->checksum.host());
  return true;
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
  [[gnu::always_inline]] void send(rte_mbuf* m) noexcept {
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
  [[gnu::noinline]] void send_in_fragments(rte_mbuf* m, uint16_t mtu) noexcept {
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
    if (rte_pktmbuf_headroom(m) < hop.l2_size) return context_.drop(m, Drop::no_headroom);
    std::byte* header = grow_front(m, hop.l2_size);
    if (hop.l2_size == sizeof(EthernetHeader)) [[likely]] {
      std::memcpy(header, hop.l2_header.data(), sizeof(EthernetHeader));  // a known size: no call
    } else {
      std::memcpy(header, hop.l2_header.data(), kMaxLinkHeader);  // tagged: the only other size there is
    }
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

void forward(WorkerContext& context, rte_mbuf* m, Origin origin, Egress& egress) noexcept {
  const Action action = meta(m).next_hop->action;
  if (action == Action::kLocal || action == Action::kLinux) {
    const PuntReason reason = action == Action::kLocal ? PuntReason::kLocal : PuntReason::kLinux;
    return context.punts->punt(m, reason, context.now);
  }
  const bool router = origin == Origin::kNetwork;
  if (router) {
    if (const Drop fault = source_fault(context, m); fault != Drop::count_) return context.drop(m, fault);
  }
  if (leads_nowhere(action)) [[unlikely]]
    return refuse(context, m, action);
  if (router && is_ipv6_link_local_source(m)) return context.drop(m, Drop::martian_source);
  if (router && !decrement_hops(m))
    return context.punts->reject(m, PuntReason::kTtlExceeded, Drop::ttl_exceeded, context.now);
  send_or_split(context, m, egress);
}

// Addresses of a burst that nobody has looked up lately.
struct Unknown {
  const void* addresses[kMaxBurst];
  uint8_t packets[kMaxBurst];  // whose they are
  static_assert(kMaxBurst <= 256);
  unsigned count = 0;

  void push(const void* address, unsigned packet) noexcept {
    addresses[count] = address;
    packets[count++] = static_cast<uint8_t>(packet);
  }
  std::span<const void* const> all() const noexcept { return {addresses, count}; }
  void place(std::span<const uint32_t> found, std::span<uint32_t> values) const noexcept {
    for (unsigned i = 0; i < count; ++i) values[packets[i]] = found[i];
  }
};

bool is_way_back(const NextHop& hop, ReversePath asked, PortId in) noexcept {
  if (asked == ReversePath::kSamePort)
    return (hop.action == Action::kPort || hop.action == Action::kUnresolved) && hop.port == in;
  return hop.action != Action::kUnreachable && hop.action != Action::kBlackhole && hop.action != Action::kProhibit;
}

}  // namespace

void look_up(RecentLookups& recent, const PrefixView& map, std::span<rte_mbuf*> packets, Side side,
             std::span<uint32_t> values) noexcept {
  Unknown ipv4, ipv6;
  for (unsigned i = 0; i < packets.size(); ++i) {
    const void* address = address_of(packets[i], side);
    const bool is_ipv4 = family_of(packets[i]) == Family::kIpv4;
    const auto [value, known] = is_ipv4 ? recent.ipv4(map, address) : recent.ipv6(map, address);
    values[i] = value;
    if (!known) [[unlikely]]
      (is_ipv4 ? ipv4 : ipv6).push(address, i);
  }
  uint32_t found[kMaxBurst];
  if (ipv4.count != 0) {
    recent.learn_ipv4(map, ipv4.all(), found);
    ipv4.place(found, values);
  }
  if (ipv6.count != 0) {
    recent.learn_ipv6(map, ipv6.all(), found);
    ipv6.place(found, values);
  }
}

// RFC 3704, section 2. Packets out of tunnels have been asked more by their peer's allowed IPs.
bool leads_back(const Published& published, rte_mbuf* m) noexcept {
  const PortId in = meta(m).in_port;
  if (in.value >= published.ports.size() || is_ipv6_link_local_source(m)) return true;
  const ReversePath asked = published.ports[in.value].reverse_path;
  if (asked == ReversePath::kAny) return true;
  const void* source = address_of(m, Side::kSource);
  const PrefixView& routes = published.fib.routes();
  const bool ipv4 = family_of(m) == Family::kIpv4;
  const uint32_t value = ipv4 ? routes.find_ipv4(source) : routes.find_ipv6(source);
  const auto is_back = [&](const NextHop& back) { return is_way_back(back, asked, in); };
  const NextHopGroup* several = published.fib.group(value);
  if (several == nullptr) return is_back(published.fib.at(value));
  return std::any_of(several->hops.begin(), several->hops.end(),
                     [&](uint32_t hop) { return is_back(published.fib.at(hop)); });
}

void clamp_segments(const TunnelView& tunnel, const Peer& peer, std::span<rte_mbuf*> packets) noexcept {
  if (!tunnel.mss_clamp) return;
  const OuterRoute* outer = peer.outer.load(std::memory_order_acquire);
  const uint16_t mtu = outer != nullptr ? std::min(tunnel.mtu, outer->inner_mtu) : tunnel.mtu;
  for (rte_mbuf* m : packets) clamp_mss(bytes_of(m), mtu);
}

void look_up_destination(WorkerContext& context, Burst& packets, StageClock& clock) noexcept {
  const Fib& fib = context.published->fib;
  uint32_t values[kMaxBurst];
  look_up(context.recent_routes, fib.routes(), packets.all(), Side::kDestination, values);
  for (unsigned i = 0; i < packets.count; ++i) {
    rte_mbuf* m = packets.packets[i];
    meta(m).next_hop = &fib.at(values[i]);
    if (const NextHopGroup* several = fib.group(values[i])) [[unlikely]]
      meta(m).next_hop = &fib.choose(*several, fib.flow_hash(bytes_of(m)));
  }
  clock.finished(Stage::look_up_destination, packets.count);
}

void forward_packets(WorkerContext& context, Burst& packets, Origin origin, StageClock& clock) noexcept {
  Egress egress(context, clock);
  for (rte_mbuf* m : packets.all()) forward(context, m, origin, egress);
  clock.finished(Stage::forward, packets.count);
  egress.finish();
}

void process_own(WorkerContext& context, Burst& packets) noexcept {
  StageClock clock(*context.stats);
  look_up_destination(context, packets, clock);
  forward_packets(context, packets, Origin::kOurs, clock);
  context.punts->flush();
}

}  // namespace sluice
