// Packets that wait for a handshake (or for the link-layer address of their outer next hop), per peer in order
// (protocol.md section 7b, steps 4 and 5). Each worker keeps its own and nobody else touches them: control asks for
// them to be sent or discarded through the inbox. Bounded three ways, so that the packet pool is never exhausted by
// them: packets per peer (the oldest goes first), peers, and packets in all. Everything is allocated at construction.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/base/strong.h"
#include "dataplane/pipeline/drop.h"
#include "dataplane/wire/limits.h"

struct rte_mbuf;

namespace sluice {

class StagedPackets {
 public:
  struct Limits {
    uint32_t peers = 4096;
    uint32_t packets = 2048;  // a fraction of the packet pool, divided by the workers
  };
  StagedPackets(const Limits& limits, DropCounters& drops);
  ~StagedPackets();  // frees what is left
  StagedPackets(const StagedPackets&) = delete;
  StagedPackets& operator=(const StagedPackets&) = delete;

  bool empty() const noexcept { return packets_ == 0; }
  uint32_t packets() const noexcept { return packets_; }
  bool holds(PeerId peer) const noexcept { return packets_ != 0 && find(peer) != kNone; }

  // Drops: staged_overflow (the peer's oldest), staged_full (this one).
  void add(PeerId peer, rte_mbuf* packet) noexcept;
  // Takes all of the peer's packets, oldest first, and says how many; room for kMaxStagedPackets.
  unsigned take(PeerId peer, std::span<rte_mbuf*, kMaxStagedPackets> packets) noexcept;
  void discard(PeerId peer) noexcept;  // drops them: staged_discarded

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Queue {
    PeerId peer;
    uint32_t count = 0;
    uint32_t next = kNone;  // in its bucket, or in the list of free ones
    rte_mbuf* oldest = nullptr;
    rte_mbuf* newest = nullptr;
  };
  uint32_t bucket_of(uint32_t slot) const noexcept { return slot & (static_cast<uint32_t>(buckets_.size()) - 1); }
  uint32_t find(PeerId peer) const noexcept;
  uint32_t find_slot(uint32_t slot) const noexcept;
  uint32_t open_queue(PeerId peer) noexcept;  // kNone: no more peers
  void close_queue(uint32_t index) noexcept;
  rte_mbuf* pop_oldest(Queue& queue) noexcept;

  Limits limits_;
  DropCounters& drops_;
  std::vector<Queue> queues_;
  std::vector<uint32_t> buckets_;  // peer slot -> first queue; a power of two
  uint32_t free_ = kNone;
  uint32_t packets_ = 0;
};

}  // namespace sluice
