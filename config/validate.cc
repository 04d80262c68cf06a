// One function for each rule, called in the order of the file's tables.
#include "config/validate.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <unordered_map>

#include "config/keys.h"
#include "config/values.h"

namespace sluice::config {
namespace {

constexpr size_t kLongestSocketPath = 107;  // sun_path of a Unix socket, less its terminator

std::string line_of(Position at) { return at.line == 0 ? "" : ", as in line " + std::to_string(at.line); }

// Values that must differ: remembers where each stood first.
template <class Value, class Place = Position, class Map = std::map<Value, Place>>
class Unique {
 public:
  void expect(size_t values) { first_.reserve(values); }
  // The place where the value was before, if it was.
  const Place* insert(const Value& value, const Place& at) {
    const auto [it, fresh] = first_.try_emplace(value, at);
    return fresh ? nullptr : &it->second;
  }

 private:
  Map first_;
};

std::string cpu_list(const std::vector<unsigned>& cpus) {  // "0-3,8"
  std::string text;
  for (size_t i = 0; i < cpus.size();) {
    size_t last = i;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    text += (text.empty() ? "" : ",") + std::to_string(cpus[i]);
    if (last > i) text += "-" + std::to_string(cpus[last]);
    i = last + 1;
  }
  return text;
}

void check_workers(const Gateway& gateway, const Machine& machine, Report& report) {
  Unique<unsigned> cores;
  for (uint32_t i = 0; i < gateway.workers.size(); ++i) {
    const unsigned core = gateway.workers[i];
    const Position at = gateway.origin.of("workers", i);
    if (!std::ranges::binary_search(machine.cpus, core)) {
      report.error(
          at, "gateway.workers",
          "core " + std::to_string(core) + " does not exist or is not ours; allowed: " + cpu_list(machine.cpus));
    }
    if (cores.insert(core, at) != nullptr)
      report.error(at, "gateway.workers",
                   "core " + std::to_string(core) + " is there twice; one worker runs on a core");
  }
  if (gateway.workers.size() > kMaxWorkers) {
    report.error(gateway.origin.of("workers"), "gateway.workers",
                 std::to_string(gateway.workers.size()) + " workers; allowed: at most " + std::to_string(kMaxWorkers));
  }
}

void check_socket_path(const Gateway& gateway, Report& report) {
  if (gateway.socket_path().size() <= kLongestSocketPath) return;
  report.error(gateway.origin.of("run-directory"), "gateway.run-directory",
               "makes a socket path of more than " + std::to_string(kLongestSocketPath) + " characters with the name");
}

// Mirrors and tunnels are interfaces of one Linux; so are the devices of af_packet and af_xdp.
void check_interface_names(const Model& model, Report& report) {
  Unique<std::string_view> names;
  std::map<std::string_view, std::string_view> taken;  // kernel interface -> port
  const auto take = [&](const Device& device, std::string_view port) {
    if (!kernel_interface(device).empty()) taken.emplace(kernel_interface(device), port);
  };
  for (const Port& port : model.ports) {
    take(port.device, port.name);
    for (const Device& member : port.members) take(member, port.name);
  }

  const auto check = [&](std::string_view name, const Origin& origin, const std::string& field) {
    if (name.empty()) return;
    const Position at = origin.of("name");
    if (const Position* before = names.insert(name, at)) {
      report.error(at, field,
                   in_quotes(name) + " is taken" + line_of(*before) +
                       "; ports and tunnels are Linux interfaces and need names of their own");
    }
    if (taken.contains(name)) {
      report.error(at, field,
                   in_quotes(name) + " is the kernel interface that a port's device uses; the " +
                       "gateway's own interface needs another name");
    }
  };
  for (const Port& port : model.ports) check(port.name, port.origin, "port.name");
  for (const Tunnel& tunnel : model.tunnels) check(tunnel.name, tunnel.origin, "tunnel.name");
}

// Where a port's frames come from: a device of its own, several, or another port's.
void check_sources(const Port& port, Report& report) {
  const int sources = port.origin.has("device") + port.origin.has("parent") + port.origin.has("members");
  if (sources == 0)
    report.error(port.origin.table(), "port.device",
                 "is missing; or give members (several devices that are one port), or parent and vlan");
  if (sources > 1)
    report.error(port.origin.table(), "port", "has more than one of device, members and parent; give one of them");
  if (port.origin.has("bond") && !port.origin.has("members"))
    report.error(port.origin.of("bond"), "port.bond", "is for ports with members");
  if (port.origin.has("members") && (port.members.size() < 2 || port.members.size() > kMaxBondMembers))
    report.error(port.origin.of("members"), "port.members",
                 std::to_string(port.members.size()) + " devices; allowed: 2.." + std::to_string(kMaxBondMembers));
}

void check_devices(const Model& model, Report& report) {
  Unique<std::string> devices;
  const auto check = [&](const Device& device, const Position& at, const std::string& field) {
    if (device.kind == DeviceKind::kNull) return;  // also the hole that an error left
    const std::string_view interface = kernel_interface(device);
    const std::string what = interface.empty() ? to_string(device) : std::string(interface);
    if (const Position* before = devices.insert(what, at))
      report.error(at, field, in_quotes(what) + " is in use by another port" + line_of(*before));
  };
  for (const Port& port : model.ports) {
    check_sources(port, report);
    check(port.device, port.origin.of("device"), "port.device");
    for (uint32_t i = 0; i < port.members.size(); ++i)
      check(port.members[i], port.origin.of("members", i), "port.members");
  }
}

// A port that is a VLAN of another takes all that belongs to the cable from there.
void check_parent(const Port& port, const std::vector<Port>& ports, Report& report) {
  const Position at = port.origin.of("parent");
  const auto parent = std::ranges::find(ports, port.parent, &Port::name);
  if (!port.vlan) report.error(at, "port.vlan", "is missing; say which VLAN of " + port.parent + " the port is");
  for (const std::string_view key : {"queues", "steering", "devargs"})
    if (port.origin.has(key))
      report.error(port.origin.of(key), "port." + std::string(key), "belongs to the parent, " + port.parent);
  if (parent == ports.end())
    return report.error(at, "port.parent", in_quotes(port.parent) + " is no port of this file");
  if (!parent->parent.empty() || parent->vlan)
    report.error(at, "port.parent",
                 port.parent + " is a VLAN itself; allowed: a port with a device or members, and without vlan");
  if (port.mtu > parent->mtu)
    report.error(port.origin.of("mtu"), "port.mtu",
                 std::to_string(port.mtu) + " is more than that of its parent, " + std::to_string(parent->mtu));
}

void check_vlans(const Model& model, Report& report) {
  Unique<std::string> vlans;
  for (const Port& port : model.ports) {
    if (port.parent.empty()) continue;
    check_parent(port, model.ports, report);
    if (!port.vlan) continue;
    const Position at = port.origin.of("vlan");
    const std::string vlan = std::to_string(*port.vlan);
    if (const Position* before = vlans.insert(port.parent + "/" + vlan, at))
      report.error(at, "port.vlan", vlan + " of " + port.parent + " is another port" + line_of(*before));
  }
}

void check_addresses(const Model& model, Report& report) {
  Unique<IpAddress> addresses;
  const auto check = [&](const std::vector<InterfaceAddress>& list, const Origin& origin, const std::string& field) {
    for (uint32_t i = 0; i < list.size(); ++i) {
      if (list[i].address.is_ipv6() && list[i].address.is_link_local()) continue;  // belong to their link
      const Position at = origin.of("addresses", i);
      if (const Position* before = addresses.insert(list[i].address, at))
        report.error(at, field, sluice::to_string(list[i].address) + " is there twice" + line_of(*before));
    }
  };
  for (const Port& port : model.ports) check(port.addresses, port.origin, "port.addresses");
  for (const Tunnel& tunnel : model.tunnels) check(tunnel.addresses, tunnel.origin, "tunnel.addresses");
}

// --- routes ----------------------------------------------------------------------------------------------------------

struct Interface {
  std::string_view name;
  const std::vector<InterfaceAddress>* addresses;
};

std::vector<Interface> interfaces_of(const Model& model) {
  std::vector<Interface> result;
  for (const Port& port : model.ports) result.push_back({port.name, &port.addresses});
  for (const Tunnel& tunnel : model.tunnels) result.push_back({tunnel.name, &tunnel.addresses});
  return result;
}

bool reaches(const Interface& interface, const IpAddress& address) {
  return std::ranges::any_of(*interface.addresses, [&](const InterfaceAddress& own) {
    return Prefix::make(own.address, own.length).contains(address);
  });
}

void check_via(const Route& route, const std::vector<Interface>& interfaces, Report& report) {
  if (!route.via) return;
  const Position at = route.origin.of("via");
  const std::string via = sluice::to_string(*route.via);
  if (!route.to.address.is_none() && route.via->family != route.to.address.family) {
    report.error(at, "route.via", via + " is not of the family of " + sluice::to_string(route.to));
    return;
  }
  const bool own = std::ranges::any_of(interfaces, [&](const Interface& interface) {
    return std::ranges::find(*interface.addresses, *route.via, &InterfaceAddress::address) !=
           interface.addresses->end();
  });
  if (own) {
    report.error(at, "route.via", via + " is the gateway's own address; allowed: another router's");
    return;
  }
  if (route.via->is_link_local()) {
    if (route.dev.empty()) report.error(at, "route.via", via + " is link-local; say by dev on which link");
    return;
  }
  const bool reachable = std::ranges::any_of(interfaces, [&](const Interface& interface) {
    return (route.dev.empty() || route.dev == interface.name) && reaches(interface, *route.via);
  });
  if (!reachable)
    report.warning(at, "route.via",
                   via + " is in no network of " + (route.dev.empty() ? "any port or tunnel" : route.dev));
}

void check_routes(const Model& model, Report& report) {
  const std::vector<Interface> interfaces = interfaces_of(model);
  Unique<std::string> routes;
  for (const Route& route : model.routes) {
    if (!route.origin.has("via") && !route.origin.has("dev"))
      report.error(route.origin.table(), "route", "leads nowhere; give via, dev or both");
    if (!route.dev.empty() && std::ranges::find(interfaces, route.dev, &Interface::name) == interfaces.end())
      report.error(route.origin.of("dev"), "route.dev", in_quotes(route.dev) + " is no port or tunnel of this file");
    if (route.to.address.is_none()) continue;
    check_via(route, interfaces, report);
    if (const Position* before = routes.insert(to_string(route), route.origin.of("to")))
      report.error(route.origin.of("to"), "route.to", to_string(route) + " is there twice" + line_of(*before));
  }
}

// --- tunnels ---------------------------------------------------------------------------------------------------------

void check_listen_ports(const Model& model, Report& report) {
  Unique<uint16_t> ports;
  for (const Tunnel& tunnel : model.tunnels) {
    if (tunnel.listen_port == 0) continue;
    const Position at = tunnel.origin.of("listen-port");
    if (const Position* before = ports.insert(tunnel.listen_port, at)) {
      report.error(at, "tunnel.listen-port",
                   std::to_string(tunnel.listen_port) + " is in use by another tunnel" + line_of(*before));
    }
  }
}

// What a tunnel puts on the wire must fit the largest port, or all that is large would leave in fragments.
void check_tunnel_mtu(const Tunnel& tunnel, unsigned port_mtu, Report& report) {
  if (!tunnel.mtu) return;
  const Position at = tunnel.origin.of("mtu");
  const std::string mtu = std::to_string(*tunnel.mtu);
  const std::string room = "leaves " + std::to_string(port_mtu - kOverheadIpv4) + " over IPv4 and " +
                           std::to_string(port_mtu - kOverheadIpv6) + " over IPv6";
  const std::string reason = mtu + " is too large: the largest port MTU, " + std::to_string(port_mtu) + ", " + room;
  const bool ipv6 = std::ranges::any_of(tunnel.peers, [](const Peer& peer) {
    return peer.endpoint && peer.endpoint->host.find(':') != std::string::npos;
  });
  if (*tunnel.mtu + kOverheadIpv4 > port_mtu)
    report.error(at, "tunnel.mtu", reason);
  else if (ipv6 && *tunnel.mtu + kOverheadIpv6 > port_mtu)
    report.warning(at, "tunnel.mtu", reason + "; there are peers with IPv6 endpoints");
}

void check_mtus(const Model& model, Report& report) {
  if (model.ports.empty()) return;
  const unsigned largest = std::ranges::max_element(model.ports, {}, &Port::mtu)->mtu;
  for (const Tunnel& tunnel : model.tunnels) check_tunnel_mtu(tunnel, largest, report);
}

// Of the many values of peers it is remembered whose they were; where that is in the file is asked only to report it.
using PublicKeys = Unique<PublicKey, const Peer*, std::unordered_map<PublicKey, const Peer*, PublicKeyHash>>;

void check_peer_keys(const Tunnel& tunnel, Report& report) {
  PublicKeys keys;
  keys.expect(tunnel.peers.size());
  const PublicKey own = tunnel.private_key.is_zero() ? PublicKey{} : public_key_of(tunnel.private_key);
  const auto place = [](const Peer& peer) { return peer.origin.of("public-key"); };
  for (const Peer& peer : tunnel.peers) {
    if (peer.public_key.is_zero()) continue;
    if (peer.public_key == own)
      report.error(place(peer), "tunnel.peer.public-key", "is the tunnel's own key; give the other side's");
    if (const Peer* const* before = keys.insert(peer.public_key, &peer))
      report.error(place(peer), "tunnel.peer.public-key",
                   "is another peer's of this tunnel" + line_of(place(**before)));
  }
}

void check_peer_names(const Tunnel& tunnel, Report& report) {
  Unique<std::string_view> names;
  for (const Peer& peer : tunnel.peers) {
    if (peer.name.empty()) continue;
    const Position at = peer.origin.of("name");
    if (const Position* before = names.insert(peer.name, at))
      report.error(at, "tunnel.peer.name",
                   in_quotes(peer.name) + " is another peer's of this tunnel" + line_of(*before));
  }
}

struct AllowedIp {
  const Peer* peer;
  uint32_t index;
  Position place() const { return peer->origin.of("allowed-ips", index); }
};

struct PrefixHash {  // of prefixes that the operator has configured: no hash flooding to fear
  size_t operator()(const Prefix& prefix) const {
    size_t half[2];
    static_assert(sizeof half == sizeof prefix.address.bytes);
    std::memcpy(half, prefix.address.bytes.data(), sizeof half);
    return (half[0] ^ half[1] * 31 ^ prefix.length) * 0x9e3779b97f4a7c15;
  }
};
using AllowedIps = Unique<Prefix, AllowedIp, std::unordered_map<Prefix, AllowedIp, PrefixHash>>;

// Each prefix leads to one peer, unless routes choose. Nested prefixes are fine: the longest wins.
void check_allowed_ips(const Tunnel& tunnel, Report& report) {
  AllowedIps prefixes;
  if (!tunnel.shared_allowed_ips) prefixes.expect(tunnel.peers.size());
  for (const Peer& peer : tunnel.peers) {
    if (tunnel.shared_allowed_ips) prefixes = {};
    for (uint32_t i = 0; i < peer.allowed_ips.size(); ++i) {
      const AllowedIp allowed{&peer, i};
      if (const AllowedIp* before = prefixes.insert(peer.allowed_ips[i], allowed)) {
        report.error(allowed.place(), "tunnel.peer.allowed-ips",
                     sluice::to_string(peer.allowed_ips[i]) + " is in this tunnel twice" + line_of(before->place()) +
                         "; a prefix leads to one peer, or with shared-allowed-ips = true to that which a route names");
      }
    }
  }
}

}  // namespace

void validate(const Model& model, const Machine& machine, Report& report) {
  if (!report.has_errors() && model.ports.empty() && model.tunnels.empty())  // or they were there, but malformed
    report.error({}, "", "there is nothing to do: give at least one [[port]] or [[tunnel]]");
  check_workers(model.gateway, machine, report);
  check_socket_path(model.gateway, report);
  check_interface_names(model, report);
  check_devices(model, report);
  check_vlans(model, report);
  check_addresses(model, report);
  check_routes(model, report);
  check_listen_ports(model, report);
  check_mtus(model, report);
  for (const Tunnel& tunnel : model.tunnels) {
    check_peer_keys(tunnel, report);
    check_peer_names(tunnel, report);
    check_allowed_ips(tunnel, report);
  }
}

}  // namespace sluice::config
