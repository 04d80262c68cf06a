// Cryptokey routing (WireGuard paper, section 2; protocol.md section 12): per tunnel, prefix -> peer; each exact prefix
// has one owner, a later insertion moves it, and a peer's prefixes are listed in the order of their insertion. Control
// only; workers use view().
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>
#include <vector>

#include "dataplane/lookup/prefix_map.h"

namespace sluice {

class AllowedIps {
 public:
  // Moves it from whoever had it. The last place in its list goes to it, also when the peer had it before.
  void insert(const Prefix& prefix, uint32_t peer_slot);
  bool erase(const Prefix& prefix, uint32_t peer_slot);  // exact prefix, and only if this peer owns it
  void erase_peer(uint32_t peer_slot);
  std::vector<Prefix> list(uint32_t peer_slot) const;  // in order of insertion
  size_t size() const noexcept { return map_.size(); }

  PrefixView view() noexcept { return map_.view(); }  // value: peer slot
  PrefixGarbage take_garbage() { return map_.take_garbage(); }

 private:
  using Owned = std::list<Prefix>;
  struct Hash {
    size_t operator()(const Prefix& prefix) const noexcept;
  };

  void unlist(const Prefix& prefix, uint32_t peer_slot);

  PrefixMap map_;
  std::unordered_map<uint32_t, Owned> by_peer_;  // peers that own something
  std::unordered_map<Prefix, Owned::iterator, Hash> places_;
};

}  // namespace sluice
