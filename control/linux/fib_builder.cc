#include "control/linux/fib_builder.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "dataplane/wire/ip.h"

namespace sluice {
namespace {

using Action = NextHop::Action;

const std::vector<Prefix>& always_local() {
  static const std::vector<Prefix> prefixes = [] {
    std::vector<Prefix> p;
    for (const char* text : {"224.0.0.0/4", "255.255.255.255/32", "ff00::/8", "fe80::/10"}) {
      p.push_back(*parse_prefix(text));
    }
    return p;
  }();
  return prefixes;
}

bool is_host(const Prefix& prefix) { return prefix.length == prefix.address.bits(); }

Action action_of(Route::Type type) {
  switch (type) {
    case Route::Type::kBlackhole:
      return Action::kBlackhole;
    case Route::Type::kProhibit:
      return Action::kProhibit;
    case Route::Type::kUnreachable:
      return Action::kUnreachable;
    default:
      return Action::kLocal;
  }
}

}  // namespace

FibBuilder::FibBuilder()
    : published_(std::make_shared<const std::vector<NextHop>>()),
      published_local_(std::make_shared<const LocalAddresses>()) {}

bool FibBuilder::update(const NetworkModel& model, const OwnInterfaces& own, const ModelChanges& changes) {
  if (changes.links || own != own_ || installed_.empty()) {
    own_ = own;
    update_everything(model);
    return publish();
  }
  for (const IpAddress& address : changes.addresses) update_prefix(model, Prefix::host(address));
  for (const Prefix& prefix : changes.routes) {
    update_prefix(model, prefix);
    update_neighbours_in(model, prefix);
  }
  for (const NeighbourKey& key : changes.neighbours) {
    update_prefix(model, Prefix::host(key.address));
    render_again(model, key);
  }
  return publish();
}

void FibBuilder::update_everything(const NetworkModel& model) {
  std::set<Prefix> prefixes(always_local().begin(), always_local().end());
  for (const auto& [prefix, slot] : installed_) prefixes.insert(prefix);
  for (const auto& [prefix, routes] : model.routes()) prefixes.insert(prefix);
  for (const LinkAddress& a : model.addresses()) prefixes.insert(Prefix::host(a.address.address));
  for (const auto& [key, neighbour] : model.neighbours()) prefixes.insert(Prefix::host(key.address));
  for (const Prefix& prefix : prefixes) update_prefix(model, prefix);
  for (uint32_t slot = 0; slot < slots_.size(); ++slot) render_slot(model, slot);
}

void FibBuilder::update_neighbours_in(const NetworkModel& model, const Prefix& prefix) {
  const auto& neighbours = model.neighbours();
  auto it = neighbours.lower_bound(NeighbourKey{prefix.address, INT32_MIN});
  for (; it != neighbours.end() && prefix.contains(it->first.address); ++it) {
    update_prefix(model, Prefix::host(it->first.address));
  }
}

void FibBuilder::update_prefix(const NetworkModel& model, const Prefix& prefix) {
  const std::optional<HopKey> key = wanted(model, prefix);
  const auto installed = installed_.find(prefix);
  if (installed != installed_.end()) {
    const uint32_t slot = installed->second;
    if (key && slots_[slot].key == *key) return;
    if (!key) {
      map_.erase(prefix);
      installed_.erase(installed);
    }
    release(slot);
  }
  if (key) {
    const uint32_t slot = acquire(model, *key);
    map_.insert(prefix, slot);
    installed_[prefix] = slot;
  } else if (installed == installed_.end()) {
    return;
  }
  note_local(prefix, key && key->action == Action::kLocal);
  map_changed_ = true;
}

void FibBuilder::note_local(const Prefix& prefix, bool local) {
  const bool changed = local ? local_.insert(prefix).second : local_.erase(prefix) != 0;
  local_changed_ = local_changed_ || changed;
}

// In the order in which Linux would decide.
std::optional<FibBuilder::HopKey> FibBuilder::wanted(const NetworkModel& model, const Prefix& prefix) const {
  const auto& local = always_local();
  if (std::find(local.begin(), local.end(), prefix) != local.end()) return HopKey{.action = Action::kLocal};
  if (is_host(prefix) && model.is_own(prefix.address)) return HopKey{.action = Action::kLocal};
  // Within fe80::/10 nothing is forwarded, whatever Linux has there: link-local packets do not leave their link.
  if (prefix.address.is_ipv6() && prefix.address.is_link_local()) return std::nullopt;
  if (const Route* route = model.best(prefix)) return hop_of(model, *route);
  if (!is_host(prefix)) return std::nullopt;
  // A resolved neighbour below the route that says it is on link.
  const Route* route = model.lookup(prefix.address);
  if (route == nullptr || route->type != Route::Type::kUnicast) return std::nullopt;
  const RouteHop* hop = model.live_hop(*route);
  if (hop == nullptr || !hop->gateway.is_none() || !own_.ports.contains(hop->interface)) return std::nullopt;
  const Neighbour* neighbour = model.neighbour({prefix.address, hop->interface});
  if (neighbour == nullptr || !neighbour->is_resolved()) return std::nullopt;
  HopKey key = hop_of(model, *route);
  key.gateway = prefix.address;
  return key;
}

FibBuilder::HopKey FibBuilder::hop_of(const NetworkModel& model, const Route& route) const {
  if (route.type != Route::Type::kUnicast) return {.action = action_of(route.type)};
  const RouteHop& hop = *model.live_hop(route);
  HopKey key{.action = Action::kLinux, .interface = hop.interface};
  uint32_t mtu = model.link(hop.interface)->mtu;
  if (route.mtu != 0) mtu = std::min(mtu, route.mtu);
  key.mtu = static_cast<uint16_t>(std::min<uint32_t>(mtu, UINT16_MAX));
  if (own_.tunnels.contains(hop.interface)) {
    key.action = Action::kTunnel;
  } else if (own_.ports.contains(hop.interface)) {
    key.action = Action::kPort;
    key.family = route.prefix.address.family;
    // A route to one host on link is its own neighbour.
    key.gateway = hop.gateway.is_none() && is_host(route.prefix) ? route.prefix.address : hop.gateway;
  }
  return key;
}

NextHop FibBuilder::render(const NetworkModel& model, const HopKey& key) const {
  NextHop hop;
  hop.action = key.action;
  hop.mtu = key.mtu;
  hop.gateway = key.gateway;
  if (key.action == Action::kTunnel) hop.tunnel = own_.tunnels.at(key.interface);
  if (key.action != Action::kPort) return hop;
  hop.port = own_.ports.at(key.interface);
  const Neighbour* neighbour = key.gateway.is_none() ? nullptr : model.neighbour({key.gateway, key.interface});
  if (neighbour == nullptr || !neighbour->is_resolved()) {
    hop.action = Action::kUnresolved;
    return hop;
  }
  const LinkHeader header =
      make_link_header(neighbour->mac, model.link(key.interface)->mac, own_.vlan_of(hop.port), key.family);
  hop.l2_size = header.size;
  hop.l2_header = header.bytes;
  return hop;
}

uint32_t FibBuilder::acquire(const NetworkModel& model, const HopKey& key) {
  const auto [it, fresh] = slot_of_.try_emplace(key, 0);
  if (fresh) {
    if (free_.empty()) {
      free_.push_back(static_cast<uint32_t>(slots_.size()));
      slots_.emplace_back();
      next_hops_.emplace_back();
    }
    it->second = free_.back();
    free_.pop_back();
    slots_[it->second].key = key;
    next_hops_[it->second] = render(model, key);
    next_hops_changed_ = true;
  }
  ++slots_[it->second].prefixes;
  return it->second;
}

void FibBuilder::release(uint32_t slot) {
  if (--slots_[slot].prefixes != 0) return;
  slot_of_.erase(slots_[slot].key);
  free_.push_back(slot);
}

void FibBuilder::render_slot(const NetworkModel& model, uint32_t slot) {
  if (slots_[slot].prefixes == 0) return;
  const NextHop hop = render(model, slots_[slot].key);
  if (hop == next_hops_[slot]) return;
  next_hops_[slot] = hop;
  next_hops_changed_ = true;
}

// Every next hop behind this neighbour: there is one per MTU and family.
void FibBuilder::render_again(const NetworkModel& model, const NeighbourKey& neighbour) {
  const HopKey first{.action = Action::kPort, .interface = neighbour.interface, .gateway = neighbour.address};
  for (auto it = slot_of_.lower_bound(first); it != slot_of_.end(); ++it) {
    const HopKey& key = it->first;
    if (key.action != first.action || key.interface != first.interface || key.gateway != first.gateway) return;
    render_slot(model, it->second);
  }
}

// Old readers keep the old array: it is copied as a whole, so a slot may be used again at once.
bool FibBuilder::publish() {
  if (next_hops_changed_) {
    garbage_.next_hops.push_back(std::exchange(published_, std::make_shared<const std::vector<NextHop>>(next_hops_)));
  }
  if (local_changed_) {
    const std::vector<Prefix> local(local_.begin(), local_.end());
    garbage_.local.push_back(std::exchange(published_local_, std::make_shared<const LocalAddresses>(local)));
  }
  const bool changed = map_changed_ || next_hops_changed_;  // no local prefix without the map
  map_changed_ = next_hops_changed_ = local_changed_ = false;
  return changed;
}

FibGarbage FibBuilder::take_garbage() {
  garbage_.nodes = map_.take_garbage();
  return std::exchange(garbage_, {});
}

}  // namespace sluice
