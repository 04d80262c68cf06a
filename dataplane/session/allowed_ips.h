// Cryptokey routing (WireGuard paper, section 2; protocol.md section 12): per tunnel, prefix -> peer; each exact prefix
// has one owner, a later insertion moves it, and a peer's prefixes are listed in the order of their insertion. Control
// only; workers use view().
//
// Where peers share, an insertion takes the prefix from nobody: each of its owners may send from it, and which of them
// gets what is sent there is decided by the route's gateway (pipeline/outbound.cc).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/base/flat_index.h"
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
  // The prefixes of each peer are a list. Its members lie in one array, linked by their numbers there.
  static constexpr uint32_t kNowhere = UINT32_MAX;
  struct Listed {
    Prefix prefix;
    uint32_t before, after;  // in the peer's list, or `after` among those that are not in use
  };
  struct Ends {
    uint32_t first = kNowhere, last = kNowhere;
  };
  static constexpr uint32_t kPageSlots = 64;
  using Page = std::array<Ends, kPageSlots>;

  auto hasher() const noexcept;
  uint32_t find_alone(const Prefix& prefix) const;
  uint32_t find_listed(const Prefix& prefix, uint32_t peer_slot) const;
  Ends& ends_of(uint32_t peer_slot);
  uint32_t first_of(uint32_t peer_slot) const noexcept;
  uint32_t list_last(const Prefix& prefix, uint32_t peer_slot);
  void unlist(uint32_t number, uint32_t peer_slot);
  void unlist_alone(const Prefix& prefix, uint32_t peer_slot);
  void insert_shared(const Prefix& prefix, uint32_t peer_slot, uint32_t value);
  void erase_shared(const Prefix& prefix, uint32_t peer_slot, uint32_t value);

  PrefixMap map_;
  std::vector<Listed> listed_;
  uint32_t unused_ = kNowhere;                  // the first of those
  std::vector<std::unique_ptr<Page>> by_peer_;  // by slot; nullptr: none of a page's peers has ever owned anything
  FlatIndex alone_;                             // of what is listed, prefixes with one owner
  bool shares_ = false;
  // Owners of shared prefixes, in the order of their insertion, by the number in the map; empty: free.
  std::vector<std::vector<uint32_t>> owners_;
  bool owners_changed_ = false;
  std::shared_ptr<const std::vector<SharedOwners>> published_;
  std::vector<std::shared_ptr<const std::vector<SharedOwners>>> old_;
};

}  // namespace sluice
