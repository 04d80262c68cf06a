#include "control/linux/network_model.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace sluice {
namespace {

bool same_rank(const Route& a, const Route& b) { return a.table == b.table && a.metric == b.metric; }
bool better(const Route& a, const Route& b) { return a.table != b.table ? a.table > b.table : a.metric < b.metric; }

// Notifications about routes through a next hop object may spell its hops out, or not.
bool is_same(const Route& a, const Route& b) {
  if (a.next_hop == 0 || a.next_hop != b.next_hop) return a == b;
  Route c = b;
  c.hops = a.hops;
  return a == c;
}

// What Linux starts with.
const std::vector<Rule>& first_rules(Family family) {
  static const auto make = [](Family of) {
    return std::vector<Rule>{{.family = of, .priority = 0, .table = Route::Table::kLocal},
                             {.family = of, .priority = 32766, .table = Route::Table::kMain},
                             {.family = of, .priority = 32767, .table = Route::Table::kDefault}};
  };
  static const std::vector<Rule> ipv4 = make(Family::kIpv4), ipv6 = make(Family::kIpv6);
  return family == Family::kIpv6 ? ipv6 : ipv4;
}

bool is_any(const Prefix& prefix) { return prefix.address.is_none(); }

// `longest`: packets to a prefix rather than to an address, see NetworkModel::find.
bool fits(const Rule& rule, const Flow& flow, unsigned longest) {
  if (rule.foreign) return false;
  if (!is_any(rule.source) && flow.source.is_none()) return false;
  const bool all =
      (flow.mark & rule.mark_mask) == rule.mark && (is_any(rule.source) || rule.source.contains(flow.source)) &&
      (is_any(rule.destination) || (rule.destination.length <= longest && rule.destination.contains(flow.destination)));
  return all != rule.inverted;
}

bool needs_hop(const Route& route) { return route.type == Route::Type::kUnicast; }

// Keys whose values differ between two maps.
template <class Map, class Note>
void for_each_difference(const Map& before, const Map& after, Note note) {
  for (const auto& [key, value] : before) {
    const auto it = after.find(key);
    if (it == after.end() || it->second != value) note(key);
  }
  for (const auto& [key, value] : after)
    if (!before.contains(key)) note(key);
}

}  // namespace

bool ModelChanges::touches_route_to(const IpAddress& destination) const {
  return links || rules || !addresses.empty() ||
         std::any_of(routes.begin(), routes.end(), [&](const Prefix& p) { return p.contains(destination); });
}

void NetworkModel::put_link(Link link) {
  auto& links = target().links;
  const auto it = links.find(link.index);
  if (it != links.end() && it->second == link) return;
  if (it != links.end() && it->second.up && !link.up) uncertain_ = true;
  if (note()) changes_.links = true;
  links.insert_or_assign(link.index, std::move(link));
}

void NetworkModel::erase_link(int index) {
  if (target().links.erase(index) == 0) return;
  uncertain_ = true;
  if (note()) changes_.links = true;
}

void NetworkModel::put_address(LinkAddress address) {
  auto& addresses = target().addresses;
  const auto it = std::find_if(addresses.begin(), addresses.end(), [&](const LinkAddress& a) {
    return a.interface == address.interface && a.address == address.address;
  });
  if (it != addresses.end() && *it == address) return;
  if (note()) changes_.addresses.insert(address.address.address);
  if (it != addresses.end())
    *it = address;
  else
    addresses.push_back(address);
}

void NetworkModel::erase_address(const LinkAddress& address) {
  const size_t erased = std::erase_if(target().addresses, [&](const LinkAddress& a) {
    return a.interface == address.interface && a.address == address.address;
  });
  if (erased == 0) return;
  uncertain_ = true;  // routes that prefer it as their source go with it
  if (note()) changes_.addresses.insert(address.address.address);
}

void NetworkModel::put_route(Route route, Insert how) {
  resolve_next_hop(route);
  const Prefix prefix = route.prefix;
  note_length(route);
  auto& routes = target().routes[prefix];
  const auto first = std::find_if(routes.begin(), routes.end(), [&](const Route& r) { return same_rank(r, route); });
  if (first == routes.end()) {
    const auto after = std::find_if(routes.begin(), routes.end(), [&](const Route& r) { return better(route, r); });
    routes.insert(after, std::move(route));
  } else if (std::find(first, routes.end(), route) != routes.end()) {
    return;
  } else {
    const auto last = std::find_if(first, routes.end(), [&](const Route& r) { return !same_rank(r, route); });
    // IPv6 merges routes of equal rank into one multipath route, and which is told only by a dump.
    if (prefix.address.is_ipv6() && note()) uncertain_ = true;
    if (how == Insert::kReplace) {
      if (last - first > 1) uncertain_ = true;
      *first = std::move(route);
    } else {
      routes.insert(how == Insert::kFirst ? first : last, std::move(route));
    }
  }
  if (note()) changes_.routes.insert(prefix);
}

void NetworkModel::erase_route(const Route& route) {
  auto& all = target().routes;
  const auto entry = all.find(route.prefix);
  if (entry == all.end()) return;
  auto& routes = entry->second;
  const auto it = std::find_if(routes.begin(), routes.end(), [&](const Route& r) { return is_same(r, route); });
  if (it == routes.end()) {  // one of a multipath route's hops, or a change Linux did not tell
    if (std::any_of(routes.begin(), routes.end(), [&](const Route& r) { return same_rank(r, route); })) {
      uncertain_ = true;
    }
    return;
  }
  routes.erase(it);
  const Prefix prefix = route.prefix;
  if (routes.empty()) all.erase(entry);
  if (note()) changes_.routes.insert(prefix);
}

// --- next hop objects ---

void NetworkModel::note_length(const Route& route) {
  lengths_[route.prefix.address.is_ipv6()][route.table].set(route.prefix.length);
}

std::vector<RouteHop> NetworkModel::hops_of(uint32_t next_hop) const {
  const auto& objects = next_ ? next_->next_hops : now_.next_hops;
  const auto object = objects.find(next_hop);
  if (object == objects.end()) return {};
  std::vector<RouteHop> hops = object->second.hops;
  for (const auto& [id, weight] : object->second.members) {
    const auto member = objects.find(id);
    if (member == objects.end()) continue;
    for (RouteHop hop : member->second.hops) {
      hop.weight = weight;
      hops.push_back(hop);
    }
  }
  return hops;
}

void NetworkModel::resolve_next_hop(Route& route) {
  if (route.next_hop == 0) return;
  if (auto hops = hops_of(route.next_hop); !hops.empty()) route.hops = std::move(hops);
}

void NetworkModel::put_next_hop(uint32_t id, NextHopObject object) {
  auto& objects = target().next_hops;
  const auto [it, fresh] = objects.try_emplace(id, object);
  if (!fresh && it->second == object) return;
  it->second = std::move(object);
  if (fresh) return;  // nobody refers to it yet
  const auto concerns = [&](uint32_t next_hop) {
    if (next_hop == id) return true;
    const auto group = objects.find(next_hop);
    return group != objects.end() && std::any_of(group->second.members.begin(), group->second.members.end(),
                                                 [&](const auto& member) { return member.id == id; });
  };
  for (auto& [prefix, routes] : target().routes) {
    for (Route& route : routes) {
      if (route.next_hop == 0 || !concerns(route.next_hop)) continue;
      resolve_next_hop(route);
      if (note()) changes_.routes.insert(prefix);
    }
  }
}

// Linux takes the routes with it in silence.
void NetworkModel::erase_next_hop(uint32_t id) {
  if (target().next_hops.erase(id) == 0) return;
  auto& all = target().routes;
  for (auto entry = all.begin(); entry != all.end();) {
    const size_t erased = std::erase_if(entry->second, [&](const Route& route) { return route.next_hop == id; });
    if (erased != 0 && note()) changes_.routes.insert(entry->first);
    entry = entry->second.empty() ? all.erase(entry) : std::next(entry);
  }
}

// --- rules ---

void NetworkModel::put_rule(const Rule& rule) {
  auto& rules = target().rules[rule.family == Family::kIpv6];
  const auto after =
      std::find_if(rules.begin(), rules.end(), [&](const Rule& r) { return r.priority > rule.priority; });
  if (std::find(rules.begin(), after, rule) != after) return;
  rules.insert(after, rule);
  if (note()) changes_.rules = true;
}

void NetworkModel::erase_rule(const Rule& rule) {
  auto& rules = target().rules[rule.family == Family::kIpv6];
  const auto it = std::find(rules.begin(), rules.end(), rule);
  if (it == rules.end()) return;
  rules.erase(it);
  if (note()) changes_.rules = true;
}

const std::vector<Rule>& NetworkModel::rules(Family family) const {
  const auto& rules = now_.rules[family == Family::kIpv6];
  return rules.empty() ? first_rules(family) : rules;
}

bool NetworkModel::has_policy() const {
  const auto differs = [&](Family family) {
    const auto& first = first_rules(family);
    return std::any_of(rules(family).begin(), rules(family).end(), [&](const Rule& rule) {
      return !rule.foreign && std::find(first.begin(), first.end(), rule) == first.end();
    });
  };
  return differs(Family::kIpv4) || differs(Family::kIpv6);
}

// --- neighbours ---

void NetworkModel::put_neighbour(const NeighbourKey& key, const Neighbour& neighbour) {
  auto& neighbours = target().neighbours;
  const auto it = neighbours.find(key);
  if (it != neighbours.end() && it->second == neighbour) return;
  neighbours.insert_or_assign(key, neighbour);
  if (note()) changes_.neighbours.insert(key);
}

void NetworkModel::erase_neighbour(const NeighbourKey& key) {
  if (target().neighbours.erase(key) != 0 && note()) changes_.neighbours.insert(key);
}

void NetworkModel::begin_resync() {
  next_.emplace();
  uncertain_ = false;
}

void NetworkModel::end_resync() {
  State before = std::move(now_);
  now_ = std::move(*next_);
  next_.reset();
  changes_.links |= before.links != now_.links;
  changes_.rules |= before.rules != now_.rules;
  if (before.addresses != now_.addresses) {
    for (const auto& a : before.addresses) changes_.addresses.insert(a.address.address);
    for (const auto& a : now_.addresses) changes_.addresses.insert(a.address.address);
  }
  for_each_difference(before.routes, now_.routes, [&](const Prefix& p) { changes_.routes.insert(p); });
  for_each_difference(before.neighbours, now_.neighbours,
                      [&](const NeighbourKey& key) { changes_.neighbours.insert(key); });
  lengths_ = {};
  for (const auto& [prefix, routes] : now_.routes)
    for (const Route& route : routes) note_length(route);
}

const Link* NetworkModel::link(int index) const {
  const auto it = now_.links.find(index);
  return it == now_.links.end() ? nullptr : &it->second;
}

const Link* NetworkModel::link(std::string_view name) const {
  const auto it =
      std::find_if(now_.links.begin(), now_.links.end(), [&](const auto& l) { return l.second.name == name; });
  return it == now_.links.end() ? nullptr : &it->second;
}

bool NetworkModel::is_own(const IpAddress& address) const {
  return std::any_of(now_.addresses.begin(), now_.addresses.end(),
                     [&](const LinkAddress& a) { return a.address.address == address; });
}

const Neighbour* NetworkModel::neighbour(const NeighbourKey& key) const {
  const auto it = now_.neighbours.find(key);
  return it == now_.neighbours.end() ? nullptr : &it->second;
}

const RouteHop* NetworkModel::live_hop(const Route& route) const {
  const auto it = std::find_if(route.hops.begin(), route.hops.end(), [&](const RouteHop& hop) {
    const Link* l = link(hop.interface);
    return l != nullptr && l->up;
  });
  return it == route.hops.end() ? nullptr : &*it;
}

bool NetworkModel::has_live_hop(const Route& route) const { return !needs_hop(route) || live_hop(route) != nullptr; }

std::vector<RouteHop> NetworkModel::usable_hops(const Route& route) const {
  std::vector<RouteHop> live, answering;
  for (const RouteHop& hop : route.hops) {
    const Link* l = link(hop.interface);
    if (l == nullptr || !l->up) continue;
    live.push_back(hop);
    const Neighbour* known = hop.gateway.is_none() ? nullptr : neighbour({hop.gateway, hop.interface});
    if (hop.gateway.is_none() || (known != nullptr && known->is_resolved())) answering.push_back(hop);
  }
  return answering.empty() ? live : answering;
}

const Route* NetworkModel::best(const Prefix& prefix) const {
  if (has_policy()) {
    const Route* route = lookup(prefix);
    return route != nullptr && route->prefix == prefix ? route : nullptr;
  }
  const auto entry = now_.routes.find(prefix);
  if (entry == now_.routes.end()) return nullptr;
  const auto it = std::find_if(entry->second.begin(), entry->second.end(), [&](const Route& r) {
    return r.table <= Route::Table::kLocal && r.table >= Route::Table::kDefault && has_live_hop(r);
  });
  return it == entry->second.end() ? nullptr : &*it;
}

// `longest`: of the prefixes to look at, so that the answer holds for all of a prefix and not for one address in it.
const Route* NetworkModel::find(const Flow& flow, unsigned longest, const Skip& skip) const {
  for (const Rule& rule : rules(flow.destination.family)) {
    if (!fits(rule, flow, longest)) continue;
    if (const Route* route = find_in_table(rule, flow, longest, skip)) return route;
  }
  return nullptr;
}

const Route* NetworkModel::find_in_table(const Rule& rule, const Flow& flow, unsigned longest, const Skip& skip) const {
  const auto& tables = lengths_[flow.destination.is_ipv6()];
  const auto lengths = tables.find(rule.table);
  if (lengths == tables.end()) return nullptr;
  const int first = static_cast<int>(std::min(longest, flow.destination.bits()));
  for (int length = first; length > rule.suppressed_length; --length) {
    if (!lengths->second.test(static_cast<size_t>(length))) continue;
    const auto entry = now_.routes.find(Prefix::make(flow.destination, static_cast<unsigned>(length)));
    if (entry == now_.routes.end()) continue;
    for (const Route& route : entry->second)
      if (route.table == rule.table && has_live_hop(route) && !(skip && skip(route))) return &route;
  }
  return nullptr;
}

ModelChanges NetworkModel::take_changes() { return std::exchange(changes_, {}); }

}  // namespace sluice
