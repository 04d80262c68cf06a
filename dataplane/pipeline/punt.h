// Packets for the control thread: what is for the gateway itself or for Linux to forward, and packets whose source is
// due an ICMP error. Collected per poll, rate-limited, posted in bursts to the mailbox's punt ring. One worker's thread
// only.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dataplane/base/clock.h"
#include "dataplane/pipeline/drop.h"
#include "dataplane/pipeline/packet.h"

namespace sluice {

class Mailbox;

// A token bucket with a reserve: ordinary packets may not take the last `reserve` tokens, so that under a flood of
// them the packets that keep the gateway on the network still get through, and the refill fills the reserve first.
class PuntBudget {
 public:
  enum class Rank : uint8_t { kOrdinary, kControl };
  struct Rate {
    uint32_t per_second, burst, reserve;
  };
  explicit PuntBudget(Rate rate) noexcept : rate_(rate), credit_(int64_t{rate.burst} * kUnit) {}
  bool take(MonoTime now, Rank rank) noexcept;

 private:
  static constexpr int64_t kUnit = 1'000'000'000;  // credit of one packet; a nanosecond earns per_second
  Rate rate_;
  int64_t credit_;
  MonoTime refilled_;
};

// ARP, neighbour discovery, routing protocols, VRRP, DHCP: the gateway loses its place in the network without them.
// `frame` starts with `l2_size` bytes of link-layer header.
PuntBudget::Rank punt_rank(ConstBytes frame, size_t l2_size) noexcept;

class PuntQueue {
 public:
  PuntQueue(size_t ports, Mailbox& mailbox, DropCounters& drops);
  ~PuntQueue();  // frees what was not flushed
  PuntQueue(const PuntQueue&) = delete;
  PuntQueue& operator=(const PuntQueue&) = delete;

  // `packet`: rte_pktmbuf_mtod at its IP header, or right behind the link-layer header of a frame that is not IP, with
  // meta.l2_size bytes of link-layer header in front. Each port and each tunnel has a budget of its own: a flood on one
  // does not silence another. Drops: punt_rate_limited (kResolve: neighbour_unresolved), punt_ring_full.
  void punt(rte_mbuf* packet, PuntReason reason, MonoTime now) noexcept;
  // The packet is dropped, and counted so, for `drop`; control gets its buffer to make the ICMP error from, as long as
  // the budget for those lasts and the ring has room (neither counts a second drop).
  void reject(rte_mbuf* packet, PuntReason reason, Drop drop, MonoTime now) noexcept;
  void flush() noexcept;

 private:
  static constexpr unsigned kCapacity = 64;
  static constexpr size_t kTunnelBudgets = 64;  // tunnels share them, by their id's low bits
  PuntBudget& budget_of(const PacketMeta& packet) noexcept;
  void push(rte_mbuf* packet) noexcept;

  Mailbox& mailbox_;
  DropCounters& drops_;
  size_t ports_;
  std::vector<PuntBudget> budgets_;  // ports, then tunnels
  PuntBudget icmp_errors_;
  unsigned count_ = 0;
  std::array<rte_mbuf*, kCapacity> packets_;
};

}  // namespace sluice
