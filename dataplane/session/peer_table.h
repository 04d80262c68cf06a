// All peers, by their slots. Workers read under RCU; control is the only writer. Slots are reused under a new
// generation, and only after the grace period of the peer that had them, so a slot taken from a published prefix table
// names the peer it was published for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "dataplane/session/peer.h"
#include "dataplane/session/places.h"

namespace sluice {

class PeerTable {
 public:
  explicit PeerTable(uint32_t capacity) : peers_(capacity), rests_(capacity) {}
  ~PeerTable();  // and of all peers in it

  // Workers and control. nullptr: gone, or another peer by now.
  Peer* find(PeerId id) const noexcept;
  Peer* at(uint32_t slot) const noexcept {  // a slot beyond the table (PrefixView::kNone) has no peer
    return slot < peers_.size() ? peers_.find(slot) : nullptr;
  }
  PeerRest& rest_of(const Peer& peer) const noexcept { return rests_.at(peer.id.slot); }
  // at() will be asked for it in a moment.
  void prefetch(uint32_t slot) const noexcept {
    if (slot < peers_.size()) peers_.prefetch(slot);
  }

  // Control only.
  Peer* make();  // with a free slot's id under a new generation; nullptr: full
  void publish(const Peer& peer) noexcept;
  void begin_session(Peer& peer, Keypair* keypair) noexcept;  // from now on sent under; nullptr: nothing is
  void withdraw(PeerId id) noexcept;     // readers may hold the pointer until the grace period ends
  void destroy(Peer& peer) noexcept;     // after the grace period: the slot may be used again
  size_t bytes_in_use() const noexcept;  // of the peers

 private:
  Places<Peer> peers_;
  Places<PeerRest> rests_;             // found through their peers only
  std::vector<uint32_t> generations_;  // control only; of the slots that were ever used, the first ones
  std::vector<uint32_t> free_;         // control only; slots of destroyed peers
};

}  // namespace sluice
