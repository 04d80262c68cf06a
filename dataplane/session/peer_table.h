// All peers, by their slots. Workers read under RCU; control is the only writer. The table is also where the peers lie:
// a slot says where its peer is before any memory was looked at, so that it can be asked for as soon as it is known who
// is next. Slots are reused under a new generation, and only after the grace period of the peer that had them, so a
// slot taken from a published prefix table names the peer it was published for.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "dataplane/session/peer.h"
#include "dataplane/session/zero_pages.h"

namespace sluice {

class PeerTable {
 public:
  explicit PeerTable(uint32_t capacity);  // memory is touched only where used
  ~PeerTable();                           // and of all peers in it

  // Workers and control. nullptr: gone, or another peer by now.
  Peer* find(PeerId id) const noexcept;
  Peer* at(uint32_t slot) const noexcept {  // a slot beyond the table (PrefixView::kNone) has no peer
    if (slot >= places_.size()) return nullptr;
    // Acquire: pairs with publish.
    const uint64_t published = published_[slot / 64].load(std::memory_order_acquire);
    return ((published >> slot % 64) & 1) != 0 ? peer_in(slot) : nullptr;
  }
  // at() will be asked for it in a moment.
  void prefetch(uint32_t slot) const noexcept {
    if (slot < places_.size()) __builtin_prefetch(peer_in(slot));
  }

  // Control only.
  Peer* make();  // with a free slot's id under a new generation; nullptr: full
  void publish(const Peer& peer) noexcept;
  void withdraw(PeerId id) noexcept;     // readers may hold the pointer until the grace period ends
  void destroy(Peer& peer) noexcept;     // after the grace period: the slot may be used again
  size_t bytes_in_use() const noexcept;  // of the peers

 private:
  struct alignas(Peer) Place {
    std::byte bytes[sizeof(Peer)];
  };
  // A place is a Peer from make() to destroy().
  Peer* peer_in(uint32_t slot) const noexcept {
    return const_cast<Peer*>(reinterpret_cast<const Peer*>(places_[slot].bytes));
  }

  ZeroPages<Place> places_;
  ZeroPages<std::atomic<uint64_t>> published_;  // a bit for each slot
  std::vector<uint32_t> generations_;           // control only; of the slots that were ever used, the first ones
  std::vector<uint32_t> free_;                  // control only; slots of destroyed peers
};

}  // namespace sluice
