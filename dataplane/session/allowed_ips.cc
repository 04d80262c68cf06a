#include "dataplane/session/allowed_ips.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace sluice {
namespace {

size_t hash_of(const Prefix& prefix) noexcept {
  const auto& bytes = prefix.address.bytes;
  const size_t address = std::hash<std::string_view>()({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  return address + (size_t{prefix.length} << 8 | static_cast<size_t>(prefix.address.family));
}

}  // namespace

auto AllowedIps::hasher() const noexcept {
  return [this](uint32_t number) { return hash_of(listed_[number].prefix); };
}

void AllowedIps::insert(const Prefix& prefix, uint32_t peer_slot) {
  const auto value = map_.exact(prefix);
  if (value && (*value >= kSharedOwners || (shares_ && *value != peer_slot)))
    return insert_shared(prefix, peer_slot, *value);
  if (value) unlist_alone(prefix, *value);
  map_.insert(prefix, peer_slot);
  alone_.insert(list_last(prefix, peer_slot), hasher());
}

bool AllowedIps::erase(const Prefix& prefix, uint32_t peer_slot) {
  const auto value = map_.exact(prefix);
  if (value && *value >= kSharedOwners && std::ranges::count(owners_[*value - kSharedOwners], peer_slot) != 0) {
    erase_shared(prefix, peer_slot, *value);
    return true;
  }
  if (value != peer_slot) return false;
  map_.erase(prefix);
  unlist_alone(prefix, peer_slot);
  return true;
}

void AllowedIps::erase_peer(uint32_t peer_slot) {
  for (const Prefix& prefix : list(peer_slot)) erase(prefix, peer_slot);
}

// `value`: another owner, or the owners there are.
void AllowedIps::insert_shared(const Prefix& prefix, uint32_t peer_slot, uint32_t value) {
  if (value < kSharedOwners) {
    alone_.erase(find_alone(prefix), hasher());
    const auto unused = std::ranges::find_if(owners_, [](const auto& owners) { return owners.empty(); });
    const auto number = static_cast<uint32_t>(unused - owners_.begin());
    if (unused == owners_.end()) owners_.emplace_back();
    owners_[number] = {value};
    value = kSharedOwners + number;
    map_.insert(prefix, value);
  }
  auto& owners = owners_[value - kSharedOwners];
  if (std::erase(owners, peer_slot) != 0) unlist(find_listed(prefix, peer_slot), peer_slot);
  owners.push_back(peer_slot);
  list_last(prefix, peer_slot);
  owners_changed_ = true;
}

// Who is left alone has the prefix as if nobody had ever shared it.
void AllowedIps::erase_shared(const Prefix& prefix, uint32_t peer_slot, uint32_t value) {
  auto& owners = owners_[value - kSharedOwners];
  std::erase(owners, peer_slot);
  unlist(find_listed(prefix, peer_slot), peer_slot);
  owners_changed_ = true;
  if (owners.size() != 1) return;
  const uint32_t alone = owners.front();
  owners.clear();
  map_.insert(prefix, alone);
  alone_.insert(find_listed(prefix, alone), hasher());
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
  std::vector<Prefix> prefixes;
  for (uint32_t at = first_of(peer_slot); at != kNowhere; at = listed_[at].after)
    prefixes.push_back(listed_[at].prefix);
  return prefixes;
}

// --- who has what ---

// Of a prefix that has one owner.
uint32_t AllowedIps::find_alone(const Prefix& prefix) const {
  return *alone_.find(hash_of(prefix), [&](uint32_t number) { return listed_[number].prefix == prefix; });
}

// Of a prefix that the peer owns, with others as a rule: lists of those are short.
uint32_t AllowedIps::find_listed(const Prefix& prefix, uint32_t peer_slot) const {
  uint32_t at = first_of(peer_slot);
  while (listed_[at].prefix != prefix) at = listed_[at].after;
  return at;
}

AllowedIps::Ends& AllowedIps::ends_of(uint32_t peer_slot) {
  const size_t page = peer_slot / kPageSlots;
  if (page >= by_peer_.size()) by_peer_.resize(page + 1);
  if (by_peer_[page] == nullptr) by_peer_[page] = std::make_unique<Page>();
  return (*by_peer_[page])[peer_slot % kPageSlots];
}

uint32_t AllowedIps::first_of(uint32_t peer_slot) const noexcept {
  const size_t page = peer_slot / kPageSlots;
  if (page >= by_peer_.size() || by_peer_[page] == nullptr) return kNowhere;
  return (*by_peer_[page])[peer_slot % kPageSlots].first;
}

uint32_t AllowedIps::list_last(const Prefix& prefix, uint32_t peer_slot) {
  Ends& ends = ends_of(peer_slot);
  uint32_t number = unused_;
  if (number == kNowhere) {
    number = static_cast<uint32_t>(listed_.size());
    listed_.emplace_back();
  } else {
    unused_ = listed_[number].after;
  }
  listed_[number] = {prefix, ends.last, kNowhere};
  (ends.last == kNowhere ? ends.first : listed_[ends.last].after) = number;
  ends.last = number;
  return number;
}

void AllowedIps::unlist(uint32_t number, uint32_t peer_slot) {
  Ends& ends = ends_of(peer_slot);
  Listed& gone = listed_[number];
  (gone.before == kNowhere ? ends.first : listed_[gone.before].after) = gone.after;
  (gone.after == kNowhere ? ends.last : listed_[gone.after].before) = gone.before;
  gone.after = std::exchange(unused_, number);
}

void AllowedIps::unlist_alone(const Prefix& prefix, uint32_t peer_slot) {
  const uint32_t number = find_alone(prefix);
  alone_.erase(number, hasher());
  unlist(number, peer_slot);
}

}  // namespace sluice
