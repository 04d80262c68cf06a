#include "dataplane/session/allowed_ips.h"

#include <string_view>

namespace sluice {

size_t AllowedIps::Hash::operator()(const Prefix& prefix) const noexcept {
  const auto& bytes = prefix.address.bytes;
  const size_t address = std::hash<std::string_view>()({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  return address + (size_t{prefix.length} << 8 | static_cast<size_t>(prefix.address.family));
}

void AllowedIps::insert(const Prefix& prefix, uint32_t peer_slot) {
  if (const auto former_owner = map_.insert(prefix, peer_slot)) unlist(prefix, *former_owner);
  Owned& owned = by_peer_[peer_slot];
  places_[prefix] = owned.insert(owned.end(), prefix);
}

bool AllowedIps::erase(const Prefix& prefix, uint32_t peer_slot) {
  if (map_.exact(prefix) != peer_slot) return false;
  map_.erase(prefix);
  unlist(prefix, peer_slot);
  return true;
}

void AllowedIps::erase_peer(uint32_t peer_slot) {
  const auto owned = by_peer_.extract(peer_slot);
  if (owned.empty()) return;
  for (const Prefix& prefix : owned.mapped()) {
    map_.erase(prefix);
    places_.erase(prefix);
  }
}

std::vector<Prefix> AllowedIps::list(uint32_t peer_slot) const {
  const auto owned = by_peer_.find(peer_slot);
  if (owned == by_peer_.end()) return {};
  return {owned->second.begin(), owned->second.end()};
}

void AllowedIps::unlist(const Prefix& prefix, uint32_t peer_slot) {
  const auto place = places_.find(prefix);
  const auto owned = by_peer_.find(peer_slot);
  owned->second.erase(place->second);
  if (owned->second.empty()) by_peer_.erase(owned);
  places_.erase(place);
}

}  // namespace sluice
