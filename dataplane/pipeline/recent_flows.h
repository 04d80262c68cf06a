// What the tables say of IP packets: the forwarding table of their destination and of their source, the allowed IPs of
// the tunnel they come from or go into. All of it follows from where a packet has come from and its two addresses, and
// packets come in flows: the latest answers are remembered, so that most packets cost one look at one cache line. What
// is not remembered is looked up as a burst; a flood of ever new addresses costs that look more. One worker's thread
// only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "dataplane/pipeline/packet.h"

namespace sluice {

struct WorkerContext;

class RecentFlows {
 public:
  RecentFlows() noexcept { forget(); }

  // Answers are those of what is published: with that they have to go.
  void forget() noexcept;

  // Packets with rte_pktmbuf_mtod at a sound IP header and meta.from complete: meta.flow.
  void find(const WorkerContext& context, std::span<rte_mbuf*> packets) noexcept;

 private:
  // Source and destination, which follow each other in both headers.
  struct Ipv4Pair {
    uint64_t both;
    bool operator==(const Ipv4Pair&) const = default;
  };
  struct Ipv6Pair {
    uint64_t parts[4];
    bool operator==(const Ipv6Pair&) const = default;
  };
  struct alignas(64) Flow {  // a cache line
    Ipv6Pair addresses;      // of IPv4: in the first part
    Arrival from;
    FlowVerdict verdict;
  };
  static_assert(sizeof(Flow) == 64);
  static constexpr size_t kFlows = 1024;  // directly mapped

  // 2^64 divided by the golden ratio (Knuth, section 6.4).
  static constexpr uint64_t kFactor = 0x9e3779b97f4a7c15;
  static size_t place_of(uint64_t hash) noexcept { return (hash * kFactor >> 32) % kFlows; }
  static size_t place_of(const Ipv4Pair& pair) noexcept { return place_of(pair.both); }
  static size_t place_of(const Ipv6Pair& pair) noexcept {
    uint64_t hash = 0;
    for (const uint64_t part : pair.parts) hash = (hash ^ part) * kFactor;
    return place_of(hash);
  }
  template <class Pair>
  static Pair pair_of(rte_mbuf* m) noexcept;
  template <class Pair>
  bool recall(rte_mbuf* m) const noexcept;
  template <class Pair>
  void keep(rte_mbuf* m) noexcept;
  void learn(const WorkerContext& context, std::span<rte_mbuf*> packets) noexcept;

  std::array<Flow, kFlows> flows_;
};

}  // namespace sluice
