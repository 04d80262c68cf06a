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

std::optional<Way> find_way(const NetworkModel& model, const OwnInterfaces& own, const Endpoint& remote) {
  Way way{.next_hop = remote.address};
  if (remote.address.is_ipv6() && remote.address.is_link_local()) {
    way.interface = static_cast<int>(remote.scope);  // there is nothing to look up: the scope is the way
  } else {
    const Route* route = model.lookup(remote.address, [&](const Route& r) {
      const RouteHop* hop = r.type == Route::Type::kUnicast ? model.live_hop(r) : nullptr;
      return hop != nullptr && own.tunnels.contains(hop->interface);
    });
    if (route == nullptr || route->type != Route::Type::kUnicast) return std::nullopt;
    const RouteHop& hop = *model.live_hop(*route);
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

template <class T>
void append(OuterRoute& route, const T& header) {
  std::memcpy(route.header.data() + route.header_size, &header, sizeof header);
  route.header_size = static_cast<uint8_t>(route.header_size + sizeof header);
}

void append_ip(OuterRoute& route) {
  const IpAddress &source = route.local, &destination = route.remote.address;
  if (destination.is_ipv4()) {
    Ipv4Header ip{};  // DF stays clear: outer packets may be fragmented on their way (protocol.md, section 13)
    ip.version_ihl = 0x45;
    ip.ttl = kDefaultHopLimit;
    ip.protocol = kProtocolUdp;
    std::copy_n(source.bytes.begin(), 4, ip.source.begin());
    std::copy_n(destination.bytes.begin(), 4, ip.destination.begin());
    append(route, ip);
    route.ipv4_sum = checksum_add(std::as_bytes(std::span(&ip, 1)));
  } else {
    Ipv6Header ip{};
    ip.version_class_flow = 6u << 28;
    ip.next_header = kProtocolUdp;
    ip.hop_limit = kDefaultHopLimit;
    ip.source = source.bytes;
    ip.destination = destination.bytes;
    append(route, ip);
  }
}

void fill_header(OuterRoute& route, const Mac& from, const Mac& to, uint16_t listen_port) {
  append(route, EthernetHeader{.destination = to.bytes,
                               .source = from.bytes,
                               .ether_type = be16(route.remote.address.is_ipv4() ? kEtherTypeIpv4 : kEtherTypeIpv6)});
  route.l3_offset = route.header_size;
  append_ip(route);
  const UdpHeader udp{.source_port = be16(listen_port),
                      .destination_port = be16(route.remote.port),
                      .length = be16(0),
                      .checksum = be16(0)};
  append(route, udp);
  const be32 protocol(kProtocolUdp);
  const unsigned size = route.local.size();
  uint32_t sum = checksum_add(std::as_bytes(std::span(route.local.bytes.data(), size)));
  sum = checksum_add(std::as_bytes(std::span(route.remote.address.bytes.data(), size)), sum);
  sum = checksum_add(std::as_bytes(std::span(&protocol, 1)), sum);
  route.udp_sum = checksum_add(std::as_bytes(std::span(&udp, 1)), sum);
}

bool is_link_local_v6(const IpAddress& a) { return a.is_ipv6() && a.is_link_local(); }

}  // namespace

OuterResolution resolve_outer(const NetworkModel& model, const OwnInterfaces& own, const OuterRequest& request) {
  OuterResolution result;
  OuterRoute& route = result.route;
  route.remote = request.remote;
  const std::optional<Way> way = find_way(model, own, request.remote);
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
  fill_header(route, model.link(way->interface)->mac, resolved ? neighbour->mac : Mac{}, request.listen_port);
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
