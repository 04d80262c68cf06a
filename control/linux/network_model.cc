#include "control/linux/network_model.h"

#include <algorithm>
#include <utility>

namespace sluice {
namespace {

bool same_rank(const Route& a, const Route& b) { return a.table == b.table && a.metric == b.metric; }
bool better(const Route& a, const Route& b) { return a.table != b.table ? a.table < b.table : a.metric < b.metric; }

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
  return links || !addresses.empty() ||
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
  const Prefix prefix = route.prefix;
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
  lengths_[prefix.address.is_ipv6()].set(prefix.length);
  if (note()) changes_.routes.insert(prefix);
}

void NetworkModel::erase_route(const Route& route) {
  auto& all = target().routes;
  const auto entry = all.find(route.prefix);
  if (entry == all.end()) return;
  auto& routes = entry->second;
  const auto it = std::find(routes.begin(), routes.end(), route);
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
  if (before.addresses != now_.addresses) {
    for (const auto& a : before.addresses) changes_.addresses.insert(a.address.address);
    for (const auto& a : now_.addresses) changes_.addresses.insert(a.address.address);
  }
  for_each_difference(before.routes, now_.routes, [&](const Prefix& p) { changes_.routes.insert(p); });
  for_each_difference(before.neighbours, now_.neighbours,
                      [&](const NeighbourKey& key) { changes_.neighbours.insert(key); });
  lengths_ = {};
  for (const auto& [prefix, routes] : now_.routes) lengths_[prefix.address.is_ipv6()].set(prefix.length);
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

const Route* NetworkModel::best(const Prefix& prefix) const {
  const auto entry = now_.routes.find(prefix);
  if (entry == now_.routes.end()) return nullptr;
  const auto it = std::find_if(entry->second.begin(), entry->second.end(),
                               [&](const Route& r) { return !needs_hop(r) || live_hop(r) != nullptr; });
  return it == entry->second.end() ? nullptr : &*it;
}

const Route* NetworkModel::lookup(const IpAddress& destination, const std::function<bool(const Route&)>& skip) const {
  const auto& lengths = lengths_[destination.is_ipv6()];
  const Route* found = nullptr;  // of table main; one of table local, however short, goes before it
  for (unsigned length = destination.bits() + 1; length-- > 0;) {
    if (!lengths.test(length)) continue;
    const auto entry = now_.routes.find(Prefix::make(destination, length));
    if (entry == now_.routes.end()) continue;
    for (const Route& route : entry->second) {
      if ((needs_hop(route) && live_hop(route) == nullptr) || (skip && skip(route))) continue;
      if (route.table == Route::Table::kLocal) return &route;
      if (found == nullptr) found = &route;
      break;
    }
  }
  return found;
}

ModelChanges NetworkModel::take_changes() { return std::exchange(changes_, {}); }

}  // namespace sluice
