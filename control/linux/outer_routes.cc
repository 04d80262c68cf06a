#include "control/linux/outer_routes.h"

#include <algorithm>
#include <cstring>

#include "dataplane/wire/ip.h"

namespace sluice {
namespace {

struct Way {
  int interface = 0;
  IpAddress next_hop;
  IpAddress preferred_source;
  uint32_t mtu = 0;
};

// Of the hops of a route, each flow always gets the same, in proportion to their weights.
RouteHop choose_hop(const std::vector<RouteHop>& hops, uint32_t flow) {
  uint32_t total = 0;
  for (const RouteHop& hop : hops) total += hop.weight;
  uint32_t at = flow % total;
  for (const RouteHop& hop : hops) {
    if (at < hop.weight) return hop;
    at -= hop.weight;
  }
  return hops.back();
}

std::optional<Way> find_way(const NetworkModel& model, const OwnInterfaces& own, const OuterRequest& request) {
  const Endpoint& remote = request.remote;
  Way way{.next_hop = remote.address};
  if (remote.address.is_ipv6() && remote.address.is_link_local()) {
    way.interface = static_cast<int>(remote.scope);  // there is nothing to look up: the scope is the way
  } else {
    const IpAddress& cached = request.cached_local;
    const Flow flow{.destination = remote.address,
                    .mark = request.mark,
                    .source = cached.family == remote.address.family && model.is_own(cached) ? cached : IpAddress{}};
    const Route* route = model.lookup(flow, [&](const Route& r) {
      const RouteHop* hop = r.type == Route::Type::kUnicast ? model.live_hop(r) : nullptr;
      return hop != nullptr && own.tunnels.contains(hop->interface);
    });
    if (route == nullptr || route->type != Route::Type::kUnicast) return std::nullopt;
    const RouteHop hop = choose_hop(model.usable_hops(*route), request.flows.of(remote));
    way.interface = hop.interface;
    if (!hop.gateway.is_none()) way.next_hop = hop.gateway;
    way.preferred_source = route->preferred_source;
    way.mtu = route->mtu;
  }
  const Link* link = model.link(way.interface);
  if (link == nullptr || !link->up || !own.ports.contains(way.interface)) return std::nullopt;
  way.mtu = way.mtu == 0 ? link->mtu : std::min(way.mtu, link->mtu);
  return way;
}

void set_link_header(OuterRoute& route, const LinkHeader& header) {
  std::memcpy(route.header.data(), header.bytes.data(), header.size);
  route.header_size = route.l3_offset = header.size;
}

bool is_link_local_v6(const IpAddress& a) { return a.is_ipv6() && a.is_link_local(); }

}  // namespace

OuterResolution resolve_outer(const NetworkModel& model, const OwnInterfaces& own, const OuterRequest& request) {
  OuterResolution result;
  OuterRoute& route = result.route;
  route.remote = request.remote;
  const std::optional<Way> way = find_way(model, own, request);
  if (!way) return result;

  const IpAddress& cached = request.cached_local;
  if (cached.family == request.remote.address.family && model.is_own(cached)) {
    route.local = cached;
  } else if (!way->preferred_source.is_none()) {
    route.local = way->preferred_source;
  } else {
    route.local = select_source(model, way->interface, way->next_hop, request.remote.address);
  }
  if (route.local.is_none()) return result;

  const NeighbourKey key{way->next_hop, way->interface};
  const Neighbour* neighbour = model.neighbour(key);
  const bool resolved = neighbour != nullptr && neighbour->is_resolved();
  result.neighbour = key;
  route.state = resolved ? OuterRoute::State::kReady : OuterRoute::State::kUnresolved;
  route.port = own.ports.at(way->interface);
  route.mtu = static_cast<uint16_t>(std::min<uint32_t>(way->mtu, UINT16_MAX));
  set_link_header(route, make_link_header(resolved ? neighbour->mac : Mac{}, model.link(way->interface)->mac,
                                          own.vlan_of(route.port), route.remote.address.family));
  append_datagram_headers(route, request.listen_port);
  return result;
}

IpAddress select_source(const NetworkModel& model, int interface, const IpAddress& next_hop,
                        const IpAddress& destination) {
  const auto fits = [&](const LinkAddress& a) {
    return a.address.address.family == destination.family && a.usable && !a.host_scope &&
           is_link_local_v6(a.address.address) == is_link_local_v6(destination);
  };
  const auto first = [&](auto&& wanted) {
    const auto& all = model.addresses();
    const auto it = std::find_if(all.begin(), all.end(), [&](const LinkAddress& a) { return fits(a) && wanted(a); });
    return it == all.end() ? IpAddress{} : it->address.address;
  };
  const auto here = [&](const LinkAddress& a) { return a.interface == interface; };
  IpAddress source = first([&](const LinkAddress& a) {
    return here(a) && Prefix::make(a.address.address, a.address.length).contains(next_hop);
  });
  if (source.is_none()) source = first(here);
  if (source.is_none() && !is_link_local_v6(destination)) source = first([](const LinkAddress&) { return true; });
  return source;
}

}  // namespace sluice
