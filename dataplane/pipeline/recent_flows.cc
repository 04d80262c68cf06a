#include "dataplane/pipeline/recent_flows.h"

#include <algorithm>

#include "dataplane/pipeline/line.h"
#include "dataplane/pipeline/source_check.h"

namespace sluice {
namespace {

using Action = NextHop::Action;

// Addresses of one family in a burst. Messages of all peers go to one of ours: what comes several times in a row is
// asked about once.
struct Addresses {
  const void* at[kMaxBurst];
  unsigned count = 0;

  // Its number.
  unsigned add(const void* address, size_t size) noexcept {
    if (count == 0 || std::memcmp(at[count - 1], address, size) != 0) at[count++] = address;
    return count - 1;
  }
  std::span<const void* const> all() const noexcept { return {at, count}; }
};

// What a prefix map says of the packets' source or destination addresses; values[i] belongs to packets[i].
void look_up(const PrefixView& map, std::span<rte_mbuf*> packets, Side side, std::span<uint32_t> values) noexcept {
  Addresses ipv4, ipv6;
  const auto is_ipv4 = [&](size_t i) { return meta(packets[i]).from.family == Family::kIpv4; };
  for (size_t i = 0; i < packets.size(); ++i) {
    const void* address = address_of(packets[i], side);
    values[i] =
        is_ipv4(i) ? ipv4.add(address, sizeof Ipv4Header::source) : ipv6.add(address, sizeof Ipv6Header::source);
  }
  uint32_t found_ipv4[kMaxBurst], found_ipv6[kMaxBurst];
  map.find_burst_ipv4(ipv4.all(), found_ipv4);
  map.find_burst_ipv6(ipv6.all(), found_ipv6);
  for (size_t i = 0; i < packets.size(); ++i) values[i] = (is_ipv4(i) ? found_ipv4 : found_ipv6)[values[i]];
}

uint16_t mtu_of(const Published& published, const NextHop& hop) noexcept {
  uint16_t mtu = hop.mtu != 0 ? hop.mtu : UINT16_MAX;
  if (hop.action != Action::kTunnel) return mtu;
  const TunnelView* tunnel = tunnel_that_is_up(published, hop.tunnel);
  if (tunnel != nullptr && tunnel->mtu != 0) mtu = std::min(mtu, tunnel->mtu);
  return mtu;
}

const NextHop& next_hop_of(const Fib& fib, uint32_t route, rte_mbuf* m) noexcept {
  const NextHopGroup* several = fib.group(route);
  return several != nullptr ? fib.choose(*several, fib.flow_hash(bytes_of(m))) : fib.at(route);
}

// All but the owners.
FlowVerdict verdict_of(const WorkerContext& context, rte_mbuf* m, uint32_t route) noexcept {
  FlowVerdict verdict{.next_hop = nullptr,
                      .source_owner = PrefixView::kNone,
                      .destination_owner = PrefixView::kNone,
                      .mtu = UINT16_MAX,
                      .source_fault = Drop::count_,
                      .version = 0};
  const Origin origin = meta(m).from.origin;
  if (origin == Origin::kTunnel) return verdict;
  verdict.next_hop = &next_hop_of(context.published->fib, route, m);
  verdict.mtu = mtu_of(*context.published, *verdict.next_hop);
  if (origin == Origin::kNetwork) verdict.source_fault = source_fault(context, m);
  return verdict;
}

TunnelId tunnel_out_of(rte_mbuf* m) noexcept {
  const Arrival& from = meta(m).from;
  return from.origin == Origin::kNetwork && from.in_port == kNoPort ? from.tunnel : kNoTunnel;
}

TunnelId tunnel_into(rte_mbuf* m) noexcept {
  const NextHop* hop = meta(m).flow.next_hop;
  if (hop == nullptr) return meta(m).from.tunnel;
  return hop->action == Action::kTunnel ? hop->tunnel : kNoTunnel;
}

// What the allowed IPs of the packets' tunnels say of an address: note(tunnel, packet, owner). Packets without a tunnel
// are passed over.
template <class Note>
void find_owners(const WorkerContext& context, std::span<rte_mbuf*> packets, TunnelId (*tunnel_of)(rte_mbuf*) noexcept,
                 Side side, Note note) noexcept {
  for_each_run(packets, tunnel_of, [&](std::span<rte_mbuf*> run) {
    const TunnelView* tunnel = tunnel_that_is_up(*context.published, tunnel_of(run[0]));
    if (tunnel == nullptr) return;
    uint32_t owners[kMaxBurst];
    look_up(tunnel->allowed_ips, run, side, owners);
    for (size_t i = 0; i < run.size(); ++i) note(*tunnel, run[i], owners[i]);
  });
}

// Of a prefix that several peers may carry, a packet goes to the one whose own address is its route's gateway, as far
// as there is such a one among them; else to the one that has had the prefix for the shortest time.
uint32_t choose_owner(const WorkerContext& context, const TunnelView& tunnel, const SharedOwners& several,
                      rte_mbuf* m) noexcept {
  const NextHop* hop = meta(m).flow.next_hop;
  if (hop == nullptr) {
    const Fib& fib = context.published->fib;
    hop = &fib.find(destination_of(bytes_of(m)), fib.flow_hash(bytes_of(m)));
  }
  const uint32_t gateway = hop->gateway.is_none() ? PrefixView::kNone : tunnel.allowed_ips.find(hop->gateway);
  return several.contain(gateway) ? gateway : several.latest;
}

}  // namespace

template <class Pair>
[[gnu::always_inline]] inline bool RecentFlows::recall(rte_mbuf* m, size_t TwoPlaces::*place) const noexcept {
  const Pair pair = pair_of<Pair>(m);
  return recall_at(m, pair, places_of(pair).*place);
}

[[gnu::always_inline]] inline bool RecentFlows::recall(rte_mbuf* m, size_t TwoPlaces::*place) const noexcept {
  return meta(m).from.family == Family::kIpv4 ? recall<Ipv4Pair>(m, place) : recall<Ipv6Pair>(m, place);
}

// Where a flow may be written down. If both places are taken, the flow in the first one moves to its other place, and
// whose that was is forgotten: it will be learnt again, and make room likewise, until all have found a place.
RecentFlows::Flow& RecentFlows::make_room(TwoPlaces places) noexcept {
  if (is_vacant(places.first)) return flows_[places.first];
  if (is_vacant(places.second)) return flows_[places.second];
  Flow& flow = flows_[places.first];
  Ipv4Pair ipv4;
  std::memcpy(&ipv4, &flow.addresses, sizeof ipv4);
  const TwoPlaces its = flow.from.family == Family::kIpv4 ? places_of(ipv4) : places_of(flow.addresses);
  flows_[its.first == places.first ? its.second : its.first] = flow;
  return flow;
}

template <class Pair>
void RecentFlows::keep(rte_mbuf* m) noexcept {
  if (recall<Pair>(m, &TwoPlaces::first) || recall<Pair>(m, &TwoPlaces::second)) return;  // learnt a packet ago
  const Pair pair = pair_of<Pair>(m);
  Flow& flow = make_room(places_of(pair));
  std::memcpy(&flow.addresses, &pair, sizeof pair);
  flow.from = meta(m).from;
  flow.verdict = meta(m).flow;
  flow.verdict.version = version_;
}

void RecentFlows::learn(const WorkerContext& context, std::span<rte_mbuf*> packets) noexcept {
  uint32_t routes[kMaxBurst];
  look_up(context.published->fib.routes(), packets, Side::kDestination, routes);
  for (size_t i = 0; i < packets.size(); ++i) meta(packets[i]).flow = verdict_of(context, packets[i], routes[i]);
  find_owners(context, packets, tunnel_out_of, Side::kSource,
              [](const TunnelView&, rte_mbuf* m, uint32_t owner) { meta(m).flow.source_owner = owner; });
  find_owners(
      context, packets, tunnel_into, Side::kDestination, [&](const TunnelView& tunnel, rte_mbuf* m, uint32_t owner) {
        const SharedOwners* several = shared_owners(tunnel.shared_owners, owner);
        meta(m).flow.destination_owner = several != nullptr ? choose_owner(context, tunnel, *several, m) : owner;
      });
  for (size_t i = 0; i < packets.size(); ++i) {
    if (context.published->fib.group(routes[i]) != nullptr) continue;  // it takes ports, too, to choose in a group
    meta(packets[i]).from.family == Family::kIpv4 ? keep<Ipv4Pair>(packets[i]) : keep<Ipv6Pair>(packets[i]);
  }
}

// Packets whose flows are not in their first places.
[[gnu::noinline]] void RecentFlows::recall_or_learn(const WorkerContext& context,
                                                    std::span<rte_mbuf*> packets) noexcept {
  rte_mbuf* unknown[kMaxBurst];
  size_t count = 0;
  for (rte_mbuf* m : packets)
    if (!recall(m, &TwoPlaces::second)) unknown[count++] = m;
  if (count != 0) learn(context, {unknown, count});
  for (rte_mbuf* m : packets) context.peers->prefetch(meta(m).flow.destination_owner);
}

void RecentFlows::find(const WorkerContext& context, std::span<rte_mbuf*> packets) noexcept {
  rte_mbuf* elsewhere[kMaxBurst];
  unsigned count = 0;
  for (rte_mbuf* m : packets) {
    if (recall(m, meta(m).place)) [[likely]] {
      context.peers->prefetch(meta(m).flow.destination_owner);
      continue;
    }
    prefetch_far(&flows_[places_of(m).second]);
    elsewhere[count++] = m;
  }
  if (count != 0) recall_or_learn(context, {elsewhere, count});
}

}  // namespace sluice
