// IP packets on their way: the work of a router (RFC 1812, RFC 8200).
//   find_flows       what the tables say of the packet (recent_flows.h)
//   forward_packets  ours or Linux's -> punt; martian sources; routes that refuse; TTL; MTU; then out of a port behind
//                    its link-layer header, or on to the tunnels (outbound.cc)
#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

#include "dataplane/pipeline/fragment.h"
#include "dataplane/pipeline/line.h"
#include "dataplane/pipeline/punt.h"
#include "dataplane/pipeline/source_check.h"
#include "dataplane/pipeline/stages.h"
#include "dataplane/pipeline/transmit.h"
#include "dataplane/wire/ip.h"
#include "dataplane/wire/mss_clamp.h"

namespace sluice {
namespace {

using Action = NextHop::Action;

// Whether there is nothing to say about a packet but where it goes.
bool is_welcome(const FlowVerdict& flow) noexcept {
  static_assert(Action::kPort < Action::kTunnel && Action::kLocal > Action::kTunnel);
  return flow.next_hop->action <= Action::kTunnel && flow.source_fault == Drop::count_;
}

// Disposes of one that is for Linux, may not pass, or whose route leads nowhere. True: it goes on.
[[gnu::noinline]] bool admit(WorkerContext& context, rte_mbuf* m) noexcept {
  const FlowVerdict& flow = meta(m).flow;
  const Action action = flow.next_hop->action;
  const auto punt = [&](PuntReason reason) { context.punts->punt(m, reason, context.now); };
  const auto reject = [&](PuntReason reason, Drop drop) { context.punts->reject(m, reason, drop, context.now); };
  if (action == Action::kLocal) {
    punt(PuntReason::kLocal);
  } else if (action == Action::kLinux) {
    punt(PuntReason::kLinux);
  } else if (flow.source_fault != Drop::count_) {
    context.drop(m, flow.source_fault);
  } else if (action == Action::kUnreachable) {
    reject(PuntReason::kNoRoute, Drop::no_route);
  } else if (action == Action::kProhibit) {
    reject(PuntReason::kProhibited, Drop::route_prohibited);
  } else if (action == Action::kBlackhole) {
    context.drop(m, Drop::route_blackhole);
  } else {
    return true;
  }
  return false;
}

// False: it had no hop left.
bool decrement_hops(rte_mbuf* m) noexcept {
  if (meta(m).from.family == Family::kIpv6) {
    auto* ip = rte_pktmbuf_mtod(m, Ipv6Header*);
    return ip->hop_limit > 1 && --ip->hop_limit != 0;
  }
  auto* ip = rte_pktmbuf_mtod(m, Ipv4Header*);
  const uint8_t ttl = ip->ttl;
  if (ttl <= 1) return false;
  ip->ttl = static_cast<uint8_t>(ttl - 1);
  ip->checksum = checksum_of_one_hop_less(ip->checksum.host());
  return true;
}

// One burst of packets on their way out: collects neighbours that leave by one port, and those for tunnels, so that
// they are sealed together.
class Egress {
 public:
  Egress(WorkerContext& context, StageClock& clock) noexcept : context_(context), clock_(clock) {}

  // The packet fits (or is not our business to split).
  [[gnu::always_inline]] void send(rte_mbuf* m) noexcept {
    const NextHop& hop = *meta(m).flow.next_hop;
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
  void finish_port() noexcept {
    if (!to_port_.empty()) context_.transmit->push(port_, to_port_.all());
    to_port_.count = 0;
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
    if (hop.port != port_ || to_port_.full()) [[unlikely]] {
      finish_port();
      port_ = hop.port;
    }
    to_port_.push(m);
  }
  void send_to_tunnel(rte_mbuf* m, const NextHop& hop) noexcept {
    meta(m).from.tunnel = hop.tunnel;
    to_tunnels_.push(m);
    if (to_tunnels_.full()) [[unlikely]]
      finish();
  }

  WorkerContext& context_;
  StageClock& clock_;
  PortId port_ = kNoPort;  // of to_port_
  Burst to_port_, to_tunnels_;
};

// Larger than the next hop takes.
void split_or_reject(WorkerContext& context, rte_mbuf* m, Egress& egress) noexcept {
  const uint16_t mtu = meta(m).flow.mtu;
  if (meta(m).from.family == Family::kIpv4 && !rte_pktmbuf_mtod(m, const Ipv4Header*)->dont_fragment())
    return egress.send_in_fragments(m, mtu);
  meta(m).mtu = mtu;
  context.punts->reject(m, PuntReason::kTooBig, Drop::too_big, context.now);
}

[[gnu::always_inline]] inline void forward(WorkerContext& context, rte_mbuf* m, Egress& egress) noexcept {
  const PacketMeta& about = meta(m);
  if (!is_welcome(about.flow) && !admit(context, m)) [[unlikely]]
    return;
  if (about.from.origin == Origin::kNetwork) {
    if (about.from.family == Family::kIpv6 && is_ipv6_link_local_source(m))
      return context.drop(m, Drop::martian_source);
    if (!decrement_hops(m)) return context.punts->reject(m, PuntReason::kTtlExceeded, Drop::ttl_exceeded, context.now);
  }
  if (rte_pktmbuf_data_len(m) > about.flow.mtu) [[unlikely]]
    return split_or_reject(context, m, egress);
  egress.send(m);
}

}  // namespace

void find_flows(WorkerContext& context, Burst& packets, StageClock& clock) noexcept {
  context.recent_flows.find(context, packets.all());
  clock.finished(Stage::find_flows, packets.count);
}

void forward_packets(WorkerContext& context, Burst& packets, StageClock& clock) noexcept {
  Egress egress(context, clock);
  for (rte_mbuf* m : packets.all()) forward(context, m, egress);
  egress.finish_port();
  clock.finished(Stage::forward, packets.count);
  egress.finish();
}

void clamp_segments(const TunnelView& tunnel, const Peer& peer, std::span<rte_mbuf*> packets) noexcept {
  const OuterRoute* outer = peer.outer.load(std::memory_order_acquire);
  const uint16_t mtu = outer != nullptr ? std::min(tunnel.mtu, outer->inner_mtu) : tunnel.mtu;
  for (rte_mbuf* m : packets) clamp_mss(bytes_of(m), mtu);
}

void process_own(WorkerContext& context, Burst& packets) noexcept {
  StageClock clock(*context.stats);
  for (rte_mbuf* m : packets.all()) {
    meta(m).from.origin = Origin::kOurs;
    meta(m).from.family = family_of(m);
    context.recent_flows.ask_for(m);
  }
  find_flows(context, packets, clock);
  forward_packets(context, packets, clock);
  context.punts->flush();
}

}  // namespace sluice
