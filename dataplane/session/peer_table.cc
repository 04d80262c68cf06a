#include "dataplane/session/peer_table.h"

#include <algorithm>
#include <cassert>
#include <new>

#include "dataplane/session/poison.h"

namespace sluice {

PeerTable::PeerTable(uint32_t capacity) : places_(capacity), published_((size_t{capacity} + 63) / 64) {}

PeerTable::~PeerTable() {
  std::sort(free_.begin(), free_.end());
  for (uint32_t slot = 0; slot < generations_.size(); ++slot)
    std::binary_search(free_.begin(), free_.end(), slot) ? permit(&places_[slot], sizeof(Place))
                                                         : peer_in(slot)->~Peer();
}

Peer* PeerTable::find(PeerId id) const noexcept {
  Peer* peer = at(id.slot);
  return peer != nullptr && peer->id == id ? peer : nullptr;
}

Peer* PeerTable::make() {
  if (free_.empty() && generations_.size() == places_.size()) return nullptr;
  uint32_t slot;
  if (free_.empty()) {
    slot = static_cast<uint32_t>(generations_.size());
    generations_.push_back(0);
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  permit(&places_[slot], sizeof(Place));
  Peer* peer = new (&places_[slot]) Peer;
  peer->id = {slot, ++generations_[slot]};
  return peer;
}

void PeerTable::publish(const Peer& peer) noexcept {
  const uint32_t slot = peer.id.slot;
  assert(peer_in(slot) == &peer && at(slot) == nullptr);
  published_[slot / 64].fetch_or(uint64_t{1} << slot % 64,
                                 std::memory_order_release);  // pairs with the acquire in at()
}

void PeerTable::withdraw(PeerId id) noexcept {
  if (find(id) != nullptr)
    published_[id.slot / 64].fetch_and(~(uint64_t{1} << id.slot % 64), std::memory_order_release);
}

void PeerTable::destroy(Peer& peer) noexcept {
  const uint32_t slot = peer.id.slot;
  assert(peer_in(slot) == &peer && at(slot) == nullptr);
  peer.~Peer();
  forbid(&places_[slot], sizeof(Place));
  free_.push_back(slot);
}

size_t PeerTable::bytes_in_use() const noexcept { return (generations_.size() - free_.size()) * sizeof(Place); }

}  // namespace sluice
