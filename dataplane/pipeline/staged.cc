#include "dataplane/pipeline/staged.h"

#include <bit>

#include "dataplane/pipeline/packet.h"

namespace sluice {

StagedPackets::StagedPackets(const Limits& limits, DropCounters& drops)
    : limits_(limits), drops_(drops), queues_(limits.peers), buckets_(std::bit_ceil(limits.peers), kNone) {
  for (uint32_t i = limits.peers; i-- > 0;) {
    queues_[i].next = free_;
    free_ = i;
  }
}

StagedPackets::~StagedPackets() {
  for (Queue& queue : queues_) {
    while (queue.count != 0) rte_pktmbuf_free(pop_oldest(queue));
  }
}

void StagedPackets::add(PeerId peer, rte_mbuf* packet) noexcept {
  uint32_t index = find_slot(peer.slot);
  if (index != kNone && queues_[index].peer != peer) {  // the slot's former peer is gone
    discard(queues_[index].peer);
    index = kNone;
  }
  if (index == kNone && packets_ < limits_.packets) index = open_queue(peer);
  const bool overflows = index != kNone && queues_[index].count == kMaxStagedPackets;
  if (index == kNone || (packets_ == limits_.packets && !overflows)) {
    drops_.add(Drop::staged_full);
    rte_pktmbuf_free(packet);
    return;
  }
  Queue& queue = queues_[index];
  if (overflows) {
    drops_.add(Drop::staged_overflow);
    rte_pktmbuf_free(pop_oldest(queue));
  }
  meta(packet).next = nullptr;
  (queue.count == 0 ? queue.oldest : meta(queue.newest).next) = packet;
  queue.newest = packet;
  ++queue.count;
  ++packets_;
}

unsigned StagedPackets::take(PeerId peer, std::span<rte_mbuf*, kMaxStagedPackets> packets) noexcept {
  const uint32_t index = find(peer);
  if (index == kNone) return 0;
  unsigned n = 0;
  while (queues_[index].count != 0) packets[n++] = pop_oldest(queues_[index]);
  close_queue(index);
  return n;
}

void StagedPackets::discard(PeerId peer) noexcept {
  std::array<rte_mbuf*, kMaxStagedPackets> packets;
  const unsigned n = take(peer, packets);
  drops_.add(Drop::staged_discarded, n);
  rte_pktmbuf_free_bulk(packets.data(), n);
}

uint32_t StagedPackets::find(PeerId peer) const noexcept {
  const uint32_t index = find_slot(peer.slot);
  return index != kNone && queues_[index].peer == peer ? index : kNone;
}

uint32_t StagedPackets::find_slot(uint32_t slot) const noexcept {
  uint32_t index = buckets_[bucket_of(slot)];
  while (index != kNone && queues_[index].peer.slot != slot) index = queues_[index].next;
  return index;
}

uint32_t StagedPackets::open_queue(PeerId peer) noexcept {
  const uint32_t index = free_;
  if (index == kNone) return kNone;
  Queue& queue = queues_[index];
  uint32_t& bucket = buckets_[bucket_of(peer.slot)];
  free_ = queue.next;
  queue.peer = peer;
  queue.next = bucket;
  bucket = index;
  return index;
}

void StagedPackets::close_queue(uint32_t index) noexcept {
  Queue& queue = queues_[index];
  uint32_t* link = &buckets_[bucket_of(queue.peer.slot)];
  while (*link != index) link = &queues_[*link].next;
  *link = queue.next;
  queue.next = free_;
  free_ = index;
}

rte_mbuf* StagedPackets::pop_oldest(Queue& queue) noexcept {
  rte_mbuf* packet = queue.oldest;
  queue.oldest = meta(packet).next;
  --queue.count;
  --packets_;
  return packet;
}

}  // namespace sluice
