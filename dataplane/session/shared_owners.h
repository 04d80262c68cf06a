// The peers of a prefix that several of a tunnel's peers may carry (allowed_ips.h). Immutable once published; made by
// control, read by workers through TunnelView.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/lookup/prefix_map.h"

namespace sluice {

struct SharedOwners {
  std::vector<uint32_t> slots;          // of the peers, ascending; two at least
  uint32_t latest = PrefixView::kNone;  // who has had the prefix for the shortest time: who would have it alone
  bool contain(uint32_t slot) const noexcept { return std::binary_search(slots.begin(), slots.end(), slot); }
};

// Values of an allowed IPs map from here on are not a peer's slot but stand for a SharedOwners, by its number.
inline constexpr uint32_t kSharedOwners = 1u << 30;

// nullptr: the value is a peer's slot, or none.
inline const SharedOwners* shared_owners(std::span<const SharedOwners> all, uint32_t value) noexcept {
  return value >= kSharedOwners && value - kSharedOwners < all.size() ? &all[value - kSharedOwners] : nullptr;
}

}  // namespace sluice
