#include "dataplane/session/peer_table.h"

#include <cassert>

#include "dataplane/session/slab.h"

namespace sluice {
namespace {

constinit Slab all_peers(sizeof(Peer));

}  // namespace

void* Peer::operator new(size_t) { return all_peers.allocate(); }
void Peer::operator delete(void* peer) noexcept { all_peers.release(peer); }

PeerTable::PeerTable(uint32_t capacity) : slots_(capacity) {}

Peer* PeerTable::find(PeerId id) const noexcept {
  Peer* peer = at(id.slot);
  return peer != nullptr && peer->id == id ? peer : nullptr;
}

std::optional<PeerId> PeerTable::reserve() {
  if (!free_.empty()) {
    const uint32_t slot = free_.back();
    free_.pop_back();
    return PeerId{slot, ++generations_[slot]};
  }
  if (generations_.size() == slots_.size()) return std::nullopt;
  generations_.push_back(1);
  return PeerId{static_cast<uint32_t>(generations_.size() - 1), 1};
}

void PeerTable::publish(Peer* peer) noexcept {
  assert(generations_[peer->id.slot] == peer->id.generation && at(peer->id.slot) == nullptr);
  slots_[peer->id.slot].store(peer, std::memory_order_release);  // pairs with the acquire in at()
}

void PeerTable::withdraw(PeerId id) noexcept {
  if (find(id) != nullptr) slots_[id.slot].store(nullptr, std::memory_order_release);
}

void PeerTable::release(PeerId id) noexcept {
  assert(generations_[id.slot] == id.generation && at(id.slot) == nullptr);
  free_.push_back(id.slot);
}

}  // namespace sluice
