// What the tables say of IP packets: the forwarding table of their destination and of their source, the allowed IPs of
// the tunnel they come from or go into. All of it follows from where a packet has come from and its two addresses, and
// packets come in flows: the latest answers are remembered, so that most packets cost one look at one cache line, which
// was asked for ahead: as many flows as tens of thousands of peers have do not stay in the caches. What is not
// remembered is looked up as a burst; a flood of ever new addresses costs that look more. One worker's thread only.
//
// A flow has two places to be in, and moves to the other one when a later flow wants this one (cuckoo hashing, Pagh and
// Rodler 2004): as long as there are fewer flows than half of the places, all of them find one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "dataplane/base/prefetch.h"
#include "dataplane/pipeline/packet.h"
#include "dataplane/session/zero_pages.h"

namespace sluice {

struct WorkerContext;

class RecentFlows {
 public:
  // Before packets come: their flows lie all over it, and none should wait until a huge page is clear.
  void take_memory() noexcept { flows_.take(); }

  // Answers are those of what is published: with that they have to go.
  void forget() noexcept { ++version_; }

  // All of these for packets with rte_pktmbuf_mtod at a sound IP header and meta.from complete.
  // First for each: meta.place.
  void ask_for(rte_mbuf* m) const noexcept {
    const size_t place = places_of(m).first;
    prefetch_far(&flows_[place]);
    meta(m).place = static_cast<uint32_t>(place);
  }
  // Then, a moment later, for all: meta.flow. The peers they go to are asked for.
  void find(const WorkerContext& context, std::span<rte_mbuf*> packets) noexcept;

  // For who meets the same flow again and again, and remembers a place for it. The answer that is remembered there, if
  // it is for this packet: meta.flow. False: it is not, find() has to look for it.
  bool recall(rte_mbuf* m, uint32_t place) const noexcept {
    return meta(m).from.family == Family::kIpv4 ? recall_at(m, pair_of<Ipv4Pair>(m), place)
                                                : recall_at(m, pair_of<Ipv6Pair>(m), place);
  }
  // What to remember next, when it is not here: one of its two places.
  uint32_t other_place(rte_mbuf* m, uint32_t place) const noexcept {
    const TwoPlaces its = places_of(m);
    return static_cast<uint32_t>(place == its.first ? its.second : its.first);
  }
  const void* line_of(uint32_t place) const noexcept { return &flows_[place]; }

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
    FlowVerdict verdict;  // verdict.version: of what was published then; 0: nobody's
  };
  static_assert(sizeof(Flow) == 64);
  static constexpr unsigned kPlaceBits = 19;
  static constexpr size_t kFlows = size_t{1} << kPlaceBits;  // 32 MiB
  struct TwoPlaces {
    size_t first, second;
  };

  // Hosts of one network are each other's neighbours, and differ where a product by 2^64 over the golden ratio (Knuth,
  // section 6.4) alone puts thousands of them into the same places: what its lower half says joins the upper one.
  static constexpr uint64_t kFactor = 0x9e3779b97f4a7c15;
  static uint64_t mix(uint64_t hash) noexcept {
    hash *= kFactor;
    return hash ^ hash >> 32;
  }
  static TwoPlaces places_of(uint64_t mixed) noexcept {
    const uint64_t hash = mixed * kFactor;
    return {hash >> (64 - kPlaceBits), hash >> (64 - 2 * kPlaceBits) & (kFlows - 1)};
  }
  static TwoPlaces places_of(const Ipv4Pair& pair) noexcept { return places_of(mix(pair.both)); }
  static TwoPlaces places_of(const Ipv6Pair& pair) noexcept {
    uint64_t hash = 0;
    for (const uint64_t part : pair.parts) hash = mix(hash ^ part);
    return places_of(hash);
  }
  static TwoPlaces places_of(rte_mbuf* m) noexcept {
    return meta(m).from.family == Family::kIpv4 ? places_of(pair_of<Ipv4Pair>(m)) : places_of(pair_of<Ipv6Pair>(m));
  }
  template <class Pair>
  static Pair pair_of(rte_mbuf* m) noexcept {
    constexpr size_t kSource =
        std::is_same_v<Pair, Ipv4Pair> ? offsetof(Ipv4Header, source) : offsetof(Ipv6Header, source);
    Pair pair;
    std::memcpy(&pair, rte_pktmbuf_mtod_offset(m, const std::byte*, kSource), sizeof pair);
    return pair;
  }
  bool recall(rte_mbuf* m, size_t TwoPlaces::*place) const noexcept;
  template <class Pair>
  bool recall(rte_mbuf* m, size_t TwoPlaces::*place) const noexcept;
  template <class Pair>
  [[gnu::always_inline]] inline bool recall_at(rte_mbuf* m, const Pair& pair, size_t place) const noexcept {
    const Flow& flow = flows_[place];
    Pair known;
    std::memcpy(&known, &flow.addresses, sizeof known);
    if (known != pair || flow.from != meta(m).from || flow.verdict.version != version_) return false;
    meta(m).flow = flow.verdict;
    return true;
  }
  void recall_or_learn(const WorkerContext& context, std::span<rte_mbuf*> packets) noexcept;
  void learn(const WorkerContext& context, std::span<rte_mbuf*> packets) noexcept;
  template <class Pair>
  void keep(rte_mbuf* m) noexcept;
  Flow& make_room(TwoPlaces places) noexcept;
  bool is_vacant(size_t place) const noexcept { return flows_[place].verdict.version != version_; }

  ZeroPages<Flow> flows_{kFlows};
  // Comes again after 2^32 publications: then what was not asked for all that time would be wrong.
  uint32_t version_ = 1;
};

}  // namespace sluice
