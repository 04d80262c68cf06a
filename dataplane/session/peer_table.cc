#include "dataplane/session/peer_table.h"

#include <algorithm>
#include <cassert>

namespace sluice {

PeerTable::~PeerTable() {
  std::sort(free_.begin(), free_.end());
  for (uint32_t slot = 0; slot < generations_.size(); ++slot) {
    if (std::binary_search(free_.begin(), free_.end(), slot)) continue;
    peers_.withdraw(slot);
    peers_.destroy(slot);
    rests_.destroy(slot);
  }
}

Peer* PeerTable::find(PeerId id) const noexcept {
  Peer* peer = at(id.slot);
  return peer != nullptr && peer->id == id ? peer : nullptr;
}

Peer* PeerTable::make() {
  if (free_.empty() && generations_.size() == peers_.size()) return nullptr;
  uint32_t slot;
  if (free_.empty()) {
    slot = static_cast<uint32_t>(generations_.size());
    generations_.push_back(0);
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  Peer& peer = peers_.make(slot);
  peer.id = {slot, ++generations_[slot]};
  rests_.make(slot);
  return &peer;
}

void PeerTable::publish(const Peer& peer) noexcept { peers_.publish(peer.id.slot); }

void PeerTable::begin_session(Peer& peer, Keypair* keypair) noexcept {
  // Release: pairs with the workers' acquire loads.
  peer.current.store(keypair != nullptr ? keypair->sending.get() : nullptr, std::memory_order_release);
  rest_of(peer).session.store(keypair, std::memory_order_release);
}

void PeerTable::withdraw(PeerId id) noexcept {
  if (find(id) != nullptr) peers_.withdraw(id.slot);
}

void PeerTable::destroy(Peer& peer) noexcept {
  const uint32_t slot = peer.id.slot;
  assert(&peers_.at(slot) == &peer);
  peers_.destroy(slot);
  rests_.destroy(slot);
  free_.push_back(slot);
}

size_t PeerTable::bytes_in_use() const noexcept {
  return (generations_.size() - free_.size()) * (sizeof(Peer) + sizeof(PeerRest));
}

}  // namespace sluice
