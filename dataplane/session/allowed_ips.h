// Cryptokey routing (WireGuard paper, section 2; protocol.md section 12): per tunnel, prefix -> peer; each exact prefix
// has one owner, a later insertion moves it, and a peer's prefixes are listed in the order of their insertion. Control
// only; workers use view().
//
// Where peers share, an insertion takes the prefix from nobody: each of its owners may send from it, and which of them
// gets what is sent there is decided by the route's gateway (pipeline/outbound.cc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "dataplane/lookup/prefix_map.h"
#include "dataplane/session/shared_owners.h"

namespace sluice {

class AllowedIps {
 public:
  void share(bool on) noexcept { shares_ = on; }  // counts from the next insertion on
  // Moves it from whoever had it, unless peers share. The last place in its list goes to it, also when the peer had it
  // before.
  void insert(const Prefix& prefix, uint32_t peer_slot);
  bool erase(const Prefix& prefix, uint32_t peer_slot);  // exact prefix, and only if this peer owns it
  void erase_peer(uint32_t peer_slot);
  std::vector<Prefix> list(uint32_t peer_slot) const;  // in order of insertion
  size_t size() const noexcept { return map_.size(); }

  PrefixView view() noexcept { return map_.view(); }  // value: peer slot, or kSharedOwners and up
  std::span<const SharedOwners> shared();             // valid until the garbage of a later change is destroyed
  struct Garbage {
    PrefixGarbage nodes;
    std::vector<std::shared_ptr<const std::vector<SharedOwners>>> shared;
    bool empty() const { return nodes.empty() && shared.empty(); }
  };
  Garbage take_garbage();

 private:
  using Owned = std::list<Prefix>;
  struct Hash {
    size_t operator()(const Prefix& prefix) const noexcept;
  };

  void list_last(const Prefix& prefix, uint32_t peer_slot);
  void unlist(const Prefix& prefix, uint32_t peer_slot);
  void insert_shared(const Prefix& prefix, uint32_t peer_slot, uint32_t value);
  void erase_shared(const Prefix& prefix, uint32_t peer_slot, uint32_t value);

  PrefixMap map_;
  std::unordered_map<uint32_t, Owned> by_peer_;               // peers that own something
  std::unordered_map<Prefix, Owned::iterator, Hash> places_;  // of prefixes with one owner
  bool shares_ = false;
  // Owners of shared prefixes, in the order of their insertion, by the number in the map; empty: free.
  std::vector<std::vector<uint32_t>> owners_;
  bool owners_changed_ = false;
  std::shared_ptr<const std::vector<SharedOwners>> published_;
  std::vector<std::shared_ptr<const std::vector<SharedOwners>>> old_;
};

}  // namespace sluice
