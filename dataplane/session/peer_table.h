// PeerId -> Peer. Workers read under RCU; control is the only writer. Slots are reused under a new generation, and only
// after the grace period of the peer that had them, so a slot taken from a published prefix table names the peer it was
// published for.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "dataplane/session/peer.h"
#include "dataplane/session/zero_pages.h"

namespace sluice {

class PeerTable {
 public:
  explicit PeerTable(uint32_t capacity);  // memory is touched only where used

  // Workers and control. nullptr: gone, or another peer by now.
  Peer* find(PeerId id) const noexcept;
  Peer* at(uint32_t slot) const noexcept {  // a slot beyond the table (PrefixView::kNone) has no peer
    return slot < slots_.size() ? slots_[slot].load(std::memory_order_acquire) : nullptr;  // pairs with publish
  }

  void prefetch(uint32_t slot) const noexcept {
    if (slot < slots_.size()) __builtin_prefetch(&slots_[slot]);
  }

  // Control only.
  std::optional<PeerId> reserve();    // a free slot under a new generation; nullopt: full
  void publish(Peer* peer) noexcept;  // at peer->id
  void withdraw(PeerId id) noexcept;  // readers may hold the pointer until the grace period ends
  void release(PeerId id) noexcept;   // after the grace period: the slot may be reserved again

 private:
  ZeroPages<std::atomic<Peer*>> slots_;
  std::vector<uint32_t> generations_;  // control only; of the slots that were ever reserved, the first ones
  std::vector<uint32_t> free_;         // control only; released slots
};

}  // namespace sluice
