#include "dataplane/pipeline/punt.h"

#include <algorithm>

#include "dataplane/pipeline/mailbox.h"
#include "dataplane/wire/ip.h"

namespace sluice {
namespace {

constexpr PuntBudget::Rate kMirrorRate{.per_second = 20'000, .burst = 2'000, .reserve = 500};
constexpr PuntBudget::Rate kIcmpErrorRate{.per_second = 2'000, .burst = 256, .reserve = 0};

constexpr uint8_t kProtocolIgmp = 2, kProtocolOspf = 89, kProtocolVrrp = 112;

bool asks_for_icmp_error(PuntReason reason) noexcept {
  return reason != PuntReason::kLocal && reason != PuntReason::kLinux && reason != PuntReason::kResolve;
}

// BGP, BFD (RFC 5881), DHCP and DHCPv6.
bool is_control_port(uint8_t protocol, uint16_t port) noexcept {
  if (protocol == kProtocolTcp) return port == 179;
  if (protocol != kProtocolUdp) return false;
  return port == 67 || port == 68 || port == 546 || port == 547 || port == 3784;
}

bool is_control_transport(uint8_t protocol, ConstBytes l4) noexcept {
  switch (protocol) {
    case kProtocolIgmp:
    case kProtocolOspf:
    case kProtocolVrrp:
      return true;
    case kProtocolIcmpv6: {  // neighbour discovery and MLD (RFC 4861, RFC 3810)
      const auto type = l4.empty() ? 0 : static_cast<uint8_t>(l4[0]);
      return (type >= 130 && type <= 137) || type == 143;
    }
    default:
      break;
  }
  if (l4.size() < sizeof(UdpHeader)) return false;
  const auto* ports = reinterpret_cast<const UdpHeader*>(l4.data());
  return is_control_port(protocol, ports->source_port.host()) ||
         is_control_port(protocol, ports->destination_port.host());
}

}  // namespace

bool PuntBudget::take(MonoTime now, Rank rank) noexcept {
  const int64_t full = int64_t{rate_.burst} * kUnit;
  // Longer than a full refill takes is as good as exactly that long, and cannot overflow.
  const int64_t elapsed = std::clamp<int64_t>((now - refilled_).count(), 0, full / rate_.per_second + 1);
  credit_ = std::min(full, credit_ + elapsed * rate_.per_second);
  refilled_ = now;
  const int64_t floor = rank == Rank::kControl ? 0 : int64_t{rate_.reserve} * kUnit;
  if (credit_ - kUnit < floor) return false;
  credit_ -= kUnit;
  return true;
}

PuntBudget::Rank punt_rank(ConstBytes frame, size_t l2_size) noexcept {
  using Rank = PuntBudget::Rank;
  if (l2_size != 0) {
    if (frame.size() < sizeof(EthernetHeader)) return Rank::kOrdinary;
    const uint16_t type = reinterpret_cast<const EthernetHeader*>(frame.data())->ether_type.host();
    if (type == kEtherTypeArp) return Rank::kControl;
    if (type != kEtherTypeIpv4 && type != kEtherTypeIpv6) return Rank::kOrdinary;
  }
  const ConstBytes packet = frame.subspan(std::min(l2_size, frame.size()));
  if (version_of(packet) == Family::kIpv4 && packet.size() >= sizeof(Ipv4Header)) {
    const auto* ip = reinterpret_cast<const Ipv4Header*>(packet.data());
    const size_t size = std::clamp(ip->header_size(), sizeof *ip, packet.size());
    return is_control_transport(ip->protocol, packet.subspan(size)) ? Rank::kControl : Rank::kOrdinary;
  }
  if (version_of(packet) == Family::kIpv6 && packet.size() >= sizeof(Ipv6Header)) {
    const auto* ip = reinterpret_cast<const Ipv6Header*>(packet.data());
    return is_control_transport(ip->next_header, packet.subspan(sizeof *ip)) ? Rank::kControl : Rank::kOrdinary;
  }
  return Rank::kOrdinary;
}

PuntQueue::PuntQueue(size_t ports, Mailbox& mailbox, DropCounters& drops)
    : mailbox_(mailbox),
      drops_(drops),
      ports_(ports),
      budgets_(ports + kTunnelBudgets, PuntBudget(kMirrorRate)),
      icmp_errors_(kIcmpErrorRate) {}

PuntQueue::~PuntQueue() { rte_pktmbuf_free_bulk(packets_.data(), count_); }

void PuntQueue::punt(rte_mbuf* packet, PuntReason reason, MonoTime now) noexcept {
  PacketMeta& m = meta(packet);
  m.punt = reason;
  const bool as_received = reason != PuntReason::kResolve;
  if (as_received && m.l2_size != 0) rte_pktmbuf_prepend(packet, m.l2_size);
  if (!as_received) m.l2_size = 0;
  if (!budget_of(m).take(now, punt_rank(bytes_of(packet), m.l2_size))) {
    drops_.add(reason == PuntReason::kResolve ? Drop::neighbour_unresolved : Drop::punt_rate_limited);
    rte_pktmbuf_free(packet);
    return;
  }
  push(packet);
}

void PuntQueue::reject(rte_mbuf* packet, PuntReason reason, Drop drop, MonoTime now) noexcept {
  drops_.add(drop);
  if (!icmp_errors_.take(now, PuntBudget::Rank::kOrdinary)) {
    rte_pktmbuf_free(packet);
    return;
  }
  meta(packet).punt = reason;
  meta(packet).l2_size = 0;
  push(packet);
}

void PuntQueue::flush() noexcept {
  if (count_ == 0) return;
  const unsigned taken = mailbox_.post_punts(packets_.data(), count_);
  for (unsigned i = taken; i < count_; ++i) {
    if (!asks_for_icmp_error(meta(packets_[i]).punt)) drops_.add(Drop::punt_ring_full);
    rte_pktmbuf_free(packets_[i]);
  }
  count_ = 0;
}

PuntBudget& PuntQueue::budget_of(const PacketMeta& packet) noexcept {
  if (packet.from.in_port.value < ports_) return budgets_[packet.from.in_port.value];
  return budgets_[ports_ + packet.from.tunnel.value % kTunnelBudgets];
}

void PuntQueue::push(rte_mbuf* packet) noexcept {
  packets_[count_++] = packet;
  if (count_ == kCapacity) flush();
}

}  // namespace sluice
