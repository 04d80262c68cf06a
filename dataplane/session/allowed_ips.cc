#include "dataplane/session/allowed_ips.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace sluice {

size_t AllowedIps::Hash::operator()(const Prefix& prefix) const noexcept {
  const auto& bytes = prefix.address.bytes;
  const size_t address = std::hash<std::string_view>()({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  return address + (size_t{prefix.length} << 8 | static_cast<size_t>(prefix.address.family));
}

void AllowedIps::insert(const Prefix& prefix, uint32_t peer_slot) {
  const auto value = map_.exact(prefix);
  if (value && (*value >= kSharedOwners || (shares_ && *value != peer_slot)))
    return insert_shared(prefix, peer_slot, *value);
  if (value) unlist(prefix, *value);
  map_.insert(prefix, peer_slot);
  list_last(prefix, peer_slot);
}

bool AllowedIps::erase(const Prefix& prefix, uint32_t peer_slot) {
  const auto value = map_.exact(prefix);
  if (value && *value >= kSharedOwners && std::ranges::count(owners_[*value - kSharedOwners], peer_slot) != 0) {
    erase_shared(prefix, peer_slot, *value);
    return true;
  }
  if (value != peer_slot) return false;
  map_.erase(prefix);
  unlist(prefix, peer_slot);
  return true;
}

void AllowedIps::erase_peer(uint32_t peer_slot) {
  for (const Prefix& prefix : list(peer_slot)) erase(prefix, peer_slot);
}

// `value`: another owner, or the owners there are.
void AllowedIps::insert_shared(const Prefix& prefix, uint32_t peer_slot, uint32_t value) {
  if (value < kSharedOwners) {
    places_.erase(prefix);
    const auto unused = std::ranges::find_if(owners_, [](const auto& owners) { return owners.empty(); });
    const auto number = static_cast<uint32_t>(unused - owners_.begin());
    if (unused == owners_.end()) owners_.emplace_back();
    owners_[number] = {value};
    value = kSharedOwners + number;
    map_.insert(prefix, value);
  }
  auto& owners = owners_[value - kSharedOwners];
  if (std::erase(owners, peer_slot) != 0) by_peer_[peer_slot].remove(prefix);
  owners.push_back(peer_slot);
  by_peer_[peer_slot].push_back(prefix);
  owners_changed_ = true;
}

// Who is left alone has the prefix as if nobody had ever shared it.
void AllowedIps::erase_shared(const Prefix& prefix, uint32_t peer_slot, uint32_t value) {
  auto& owners = owners_[value - kSharedOwners];
  std::erase(owners, peer_slot);
  const auto listed = by_peer_.find(peer_slot);
  listed->second.remove(prefix);
  if (listed->second.empty()) by_peer_.erase(listed);
  owners_changed_ = true;
  if (owners.size() != 1) return;
  const uint32_t alone = owners.front();
  owners.clear();
  map_.insert(prefix, alone);
  Owned& owned = by_peer_[alone];
  places_[prefix] = std::ranges::find(owned, prefix);
}

std::span<const SharedOwners> AllowedIps::shared() {
  if (owners_changed_) {
    auto fresh = std::make_shared<std::vector<SharedOwners>>();
    for (const auto& owners : owners_) {
      SharedOwners& made = fresh->emplace_back();
      made.slots = owners;
      std::ranges::sort(made.slots);
      if (!owners.empty()) made.latest = owners.back();
    }
    if (published_) old_.push_back(published_);
    published_ = std::move(fresh);
    owners_changed_ = false;
  }
  return published_ ? std::span<const SharedOwners>(*published_) : std::span<const SharedOwners>();
}

AllowedIps::Garbage AllowedIps::take_garbage() { return {map_.take_garbage(), std::exchange(old_, {})}; }

std::vector<Prefix> AllowedIps::list(uint32_t peer_slot) const {
  const auto owned = by_peer_.find(peer_slot);
  if (owned == by_peer_.end()) return {};
  return {owned->second.begin(), owned->second.end()};
}

void AllowedIps::list_last(const Prefix& prefix, uint32_t peer_slot) {
  Owned& owned = by_peer_[peer_slot];
  places_[prefix] = owned.insert(owned.end(), prefix);
}

void AllowedIps::unlist(const Prefix& prefix, uint32_t peer_slot) {
  const auto place = places_.find(prefix);
  const auto owned = by_peer_.find(peer_slot);
  owned->second.erase(place->second);
  if (owned->second.empty()) by_peer_.erase(owned);
  places_.erase(place);
}

}  // namespace sluice
