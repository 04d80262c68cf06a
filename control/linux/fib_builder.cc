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

// Rules for a destination begin to count where it does, whether or not there is a route to exactly that.
bool is_asked_by_rule(const NetworkModel& model, const Prefix& prefix) {
  const auto& rules = model.rules(prefix.address.family);
  return std::any_of(rules.begin(), rules.end(), [&](const Rule& rule) { return rule.destination == prefix; });
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

FibBuilder::FibBuilder(const FlowHash& flows)
    : flows_(flows),
      published_(std::make_shared<const std::vector<NextHop>>()),
      published_groups_(std::make_shared<const std::vector<NextHopGroup>>()),
      published_local_(std::make_shared<const LocalAddresses>()) {}

bool FibBuilder::update(const NetworkModel& model, const OwnInterfaces& own, const ModelChanges& changes) {
  if (changes.links || changes.rules || own != own_ || installed_.empty()) {
    own_ = own;
    update_everything(model);
    return publish();
  }
  for (const IpAddress& address : changes.addresses) update_prefix(model, Prefix::host(address));
  for (const Prefix& prefix : changes.routes) {
    update_prefix(model, prefix);
    update_neighbours_in(model, prefix);
    if (model.has_policy()) update_prefixes_in(model, prefix);
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
  for (const Family family : {Family::kIpv4, Family::kIpv6})
    for (const Rule& rule : model.rules(family))
      if (!rule.destination.address.is_none()) prefixes.insert(rule.destination);
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

// With policy, a route that one table has gained or lost uncovers or hides longer ones of other tables.
void FibBuilder::update_prefixes_in(const NetworkModel& model, const Prefix& prefix) {
  std::vector<Prefix> inside;
  for (auto it = model.routes().lower_bound(Prefix{prefix.address, 0}); it != model.routes().end(); ++it) {
    IpAddress address = it->first.address;  // families stand side by side, by their bytes
    address.family = prefix.address.family;
    if (!prefix.contains(address)) break;
    if (prefix.contains(it->first.address)) inside.push_back(it->first);
  }
  for (const Rule& rule : model.rules(prefix.address.family))
    if (prefix.contains(rule.destination.address)) inside.push_back(rule.destination);
  for (const Prefix& p : inside) update_prefix(model, p);
}

void FibBuilder::update_prefix(const NetworkModel& model, const Prefix& prefix) {
  const Ways ways = wanted(model, prefix);
  const auto installed = installed_.find(prefix);
  if (installed != installed_.end() && ways == ways_at(installed->second)) return;
  if (installed == installed_.end() && ways.empty()) return;
  std::optional<uint32_t> old;
  if (installed != installed_.end()) old = installed->second;
  if (ways.empty()) {
    map_.erase(prefix);
    installed_.erase(installed);
  } else {
    const uint32_t value = acquire(model, ways);
    map_.insert(prefix, value);
    installed_[prefix] = value;
  }
  if (old) release(*old);
  note_local(prefix, ways.size() == 1 && ways.front().hop.action == Action::kLocal);
  map_changed_ = true;
}

void FibBuilder::note_local(const Prefix& prefix, bool local) {
  const bool changed = local ? local_.insert(prefix).second : local_.erase(prefix) != 0;
  local_changed_ = local_changed_ || changed;
}

// In the order in which Linux would decide.
FibBuilder::Ways FibBuilder::wanted(const NetworkModel& model, const Prefix& prefix) const {
  const auto& local = always_local();
  if (std::find(local.begin(), local.end(), prefix) != local.end()) return {{{.action = Action::kLocal}}};
  if (is_host(prefix) && model.is_own(prefix.address)) return {{{.action = Action::kLocal}}};
  // Within fe80::/10 nothing is forwarded, whatever Linux has there: link-local packets do not leave their link.
  if (prefix.address.is_ipv6() && prefix.address.is_link_local()) return {};
  if (const Route* route = model.best(prefix)) return ways_of(model, *route);
  const bool asked = is_asked_by_rule(model, prefix);
  const Route* above = asked || is_host(prefix) ? model.lookup(prefix) : nullptr;
  if (above == nullptr) return {};
  Ways ways = is_host(prefix) ? neighbour_on_link(model, *above, prefix.address) : Ways{};
  return ways.empty() && asked ? ways_of(model, *above) : ways;
}

// A resolved neighbour below the route that says it is on link.
FibBuilder::Ways FibBuilder::neighbour_on_link(const NetworkModel& model, const Route& route,
                                               const IpAddress& address) const {
  if (route.type != Route::Type::kUnicast) return {};
  for (const RouteHop& hop : model.usable_hops(route)) {
    if (!hop.gateway.is_none() || !own_.ports.contains(hop.interface)) continue;
    const Neighbour* neighbour = model.neighbour({address, hop.interface});
    if (neighbour == nullptr || !neighbour->is_resolved()) continue;
    HopKey key = hop_of(model, route, hop);
    key.gateway = address;
    return {{key}};
  }
  return {};
}

FibBuilder::Ways FibBuilder::ways_of(const NetworkModel& model, const Route& route) const {
  if (route.type != Route::Type::kUnicast) return {{{.action = action_of(route.type)}}};
  Ways ways;
  for (const RouteHop& hop : route.hops) {
    const Link* link = model.link(hop.interface);
    if (link != nullptr && link->up) ways.push_back({hop_of(model, route, hop), hop.weight});
  }
  if (ways.size() == 1) ways.front().weight = 1;  // of nothing
  return ways;
}

FibBuilder::HopKey FibBuilder::hop_of(const NetworkModel& model, const Route& route, const RouteHop& hop) const {
  HopKey key{.action = Action::kLinux, .interface = hop.interface};
  uint32_t mtu = model.link(hop.interface)->mtu;
  if (route.mtu != 0) mtu = std::min(mtu, route.mtu);
  key.mtu = static_cast<uint16_t>(std::min<uint32_t>(mtu, UINT16_MAX));
  if (own_.tunnels.contains(hop.interface)) {
    key.action = Action::kTunnel;
    key.gateway = hop.gateway;
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

// --- next hops and groups, shared by the prefixes that lead to them ---

const FibBuilder::Ways& FibBuilder::ways_at(uint32_t value) const {
  return (value & Fib::kGroup) != 0 ? groups_[value ^ Fib::kGroup].ways : slots_[value].ways;
}

uint32_t FibBuilder::acquire(const NetworkModel& model, const Ways& ways) {
  if (ways.size() == 1) return acquire_slot(model, ways.front().hop);
  const auto [it, fresh] = group_of_.try_emplace(ways, 0);
  if (fresh) {
    const auto unused = std::find_if(groups_.begin(), groups_.end(), [](const Group& g) { return g.prefixes == 0; });
    it->second = static_cast<uint32_t>(unused - groups_.begin());
    if (unused == groups_.end()) {
      groups_.emplace_back();
      rendered_groups_.emplace_back();
    }
    Group& group = groups_[it->second];
    group = {.ways = ways};
    for (const Way& way : ways) group.slots.push_back(acquire_slot(model, way.hop));
    rendered_groups_[it->second] = render_group(group);
    groups_changed_ = true;
  }
  ++groups_[it->second].prefixes;
  return it->second | Fib::kGroup;
}

void FibBuilder::release(uint32_t value) {
  if ((value & Fib::kGroup) == 0) return release_slot(value);
  Group& group = groups_[value ^ Fib::kGroup];
  if (--group.prefixes != 0) return;
  group_of_.erase(group.ways);
  for (uint32_t slot : group.slots) release_slot(slot);
}

uint32_t FibBuilder::acquire_slot(const NetworkModel& model, const HopKey& key) {
  const auto [it, fresh] = slot_of_.try_emplace(key, 0);
  if (fresh) {
    if (free_.empty()) {
      free_.push_back(static_cast<uint32_t>(slots_.size()));
      slots_.emplace_back();
      next_hops_.emplace_back();
    }
    it->second = free_.back();
    free_.pop_back();
    slots_[it->second].ways = {{key}};
    next_hops_[it->second] = render(model, key);
    next_hops_changed_ = true;
    count_neighbour(key, +1);
  }
  ++slots_[it->second].users;
  return it->second;
}

void FibBuilder::release_slot(uint32_t slot) {
  if (--slots_[slot].users != 0) return;
  count_neighbour(slots_[slot].key(), -1);
  slot_of_.erase(slots_[slot].key());
  free_.push_back(slot);
}

void FibBuilder::count_neighbour(const HopKey& key, int change) {
  if (key.action != Action::kPort || key.gateway.is_none()) return;
  const NeighbourKey neighbour{key.gateway, key.interface};
  const int uses = neighbour_uses_[neighbour] += change;
  if (uses == 0) neighbour_uses_.erase(neighbour);
  if (change > 0 && uses == 1) neighbour_changes_[neighbour] = true;
  if (change < 0 && uses == 0) neighbour_changes_[neighbour] = false;
}

// Each way has a stretch of the buckets (RFC 2992: little moves when one comes or goes), and one at least. Those whose
// neighbour is not known to answer are left out if others do.
NextHopGroup FibBuilder::render_group(const Group& group) const {
  const auto answers = [&](size_t i) { return next_hops_[group.slots[i]].action != Action::kUnresolved; };
  std::vector<size_t> used;
  for (size_t i = 0; i < group.slots.size(); ++i)
    if (answers(i)) used.push_back(i);
  if (used.empty())
    for (size_t i = 0; i < group.slots.size(); ++i) used.push_back(i);
  if (used.size() > NextHopGroup::kBuckets) used.resize(NextHopGroup::kBuckets);

  uint64_t total = 0, before = 0;
  for (size_t i : used) total += group.ways[i].weight;
  NextHopGroup rendered;
  size_t bucket = 0;
  for (size_t n = 0; n < used.size(); ++n) {
    before += group.ways[used[n]].weight;
    const size_t left = used.size() - n - 1;  // ways that want a bucket, too
    const size_t end = std::clamp<size_t>((before * NextHopGroup::kBuckets + total / 2) / total, bucket + 1,
                                          NextHopGroup::kBuckets - left);
    for (; bucket < end; ++bucket) rendered.hops[bucket] = group.slots[used[n]];
  }
  return rendered;
}

void FibBuilder::render_slot(const NetworkModel& model, uint32_t slot) {
  if (slots_[slot].users == 0) return;
  const NextHop hop = render(model, slots_[slot].key());
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
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (groups_[i].prefixes == 0) continue;
      NextHopGroup rendered = render_group(groups_[i]);
      if (rendered == rendered_groups_[i]) continue;
      rendered_groups_[i] = rendered;
      groups_changed_ = true;
    }
  }
  if (groups_changed_) {
    garbage_.groups.push_back(
        std::exchange(published_groups_, std::make_shared<const std::vector<NextHopGroup>>(rendered_groups_)));
  }
  if (next_hops_changed_) {
    garbage_.next_hops.push_back(std::exchange(published_, std::make_shared<const std::vector<NextHop>>(next_hops_)));
  }
  if (local_changed_) {
    const std::vector<Prefix> local(local_.begin(), local_.end());
    garbage_.local.push_back(std::exchange(published_local_, std::make_shared<const LocalAddresses>(local)));
  }
  const bool changed = map_changed_ || next_hops_changed_ || groups_changed_;  // no local prefix without the map
  map_changed_ = next_hops_changed_ = groups_changed_ = local_changed_ = false;
  return changed;
}

FibGarbage FibBuilder::take_garbage() {
  garbage_.nodes = map_.take_garbage();
  return std::exchange(garbage_, {});
}

}  // namespace sluice
