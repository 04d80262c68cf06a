#include "control/gateway/configurator.h"

#include <algorithm>

namespace sluice {
namespace {

// The kernel routes by which traffic for `prefix` enters the tunnel. A default route becomes two halves, so that it
// stands beside the default route by which the tunnel's own packets leave, instead of replacing it.
std::vector<Prefix> routes_for(const Prefix& prefix) {
  if (prefix.length != 0) return {prefix};
  IpAddress upper = prefix.address;
  upper.bytes[0] = 0x80;
  return {Prefix::make(prefix.address, 1), Prefix::make(upper, 1)};
}

void note(std::vector<std::string>& problems, const Result<void>& result) {
  if (!result) problems.push_back(result.error().what);
}

std::vector<Prefix> without(const std::vector<Prefix>& all, const std::vector<Prefix>& some) {
  std::vector<Prefix> rest;
  std::copy_if(all.begin(), all.end(), std::back_inserter(rest),
               [&](const Prefix& p) { return std::find(some.begin(), some.end(), p) == some.end(); });
  return rest;
}

}  // namespace

Configurator::Configurator(Parts parts, std::shared_ptr<const config::Model> model)
    : parts_(std::move(parts)), model_(std::move(model)) {}

// --- start ---

Result<void> Configurator::apply_all() {
  for (uint16_t i = 0; i < model_->ports.size(); ++i)
    if (auto done = apply_port(model_->ports[i], PortId{i}); !done) return done;
  for (const config::Tunnel& tunnel : model_->tunnels)
    if (auto done = apply_tunnel(tunnel); !done) return done;
  for (const config::Route& route : model_->routes)
    if (auto done = apply_route(route); !done) return done;
  return {};
}

Result<void> Configurator::apply_port(const config::Port& port, PortId id) {
  if (auto made = parts_.network.add_port(*parts_.dataplane.ports()[id.value]); !made) return made;
  Mirror& mirror = *parts_.network.port_mirror(id);
  for (const InterfaceAddress& address : port.addresses)
    if (auto done = parts_.network.add_address(mirror, address); !done) return done;
  return parts_.network.bring_up(mirror);
}

Result<void> Configurator::apply_tunnel(const config::Tunnel& wanted) {
  Tunnel& tunnel = *parts_.wireguard.add_tunnel(wanted.name);
  const uint16_t mtu = wanted.mtu.value_or(tunnel.derived_mtu());
  tunnel.set_mtu(mtu);
  tunnel.set_derives_mtu(!wanted.mtu);
  tunnel.set_mss_clamp(wanted.mss_clamp);
  tunnel.set_path_mtu_probe(wanted.path_mtu_probe);
  tunnel.share_allowed_ips(wanted.shared_allowed_ips);
  tunnel.set_dscp(wanted.dscp);
  tunnel.set_fwmark(wanted.fwmark);
  if (auto done = tunnel.set_listen_port(wanted.listen_port); !done) return done;
  tunnel.set_private_key(wanted.private_key.clone());

  if (auto made = parts_.network.add_tunnel(tunnel.id(), wanted.name, mtu); !made) return made;
  Mirror& mirror = *parts_.network.tunnel_mirror(tunnel.id());
  for (const InterfaceAddress& address : wanted.addresses)
    if (auto done = parts_.network.add_address(mirror, address); !done) return done;
  if (auto done = parts_.network.bring_up(mirror); !done) return done;

  std::vector<std::string> problems;
  for (const config::Peer& peer : wanted.peers) add_peer(tunnel, wanted, peer, problems);
  if (!problems.empty()) return Error{problems.front()};
  return {};
}

Result<void> Configurator::apply_route(const config::Route& route) {
  return parts_.network.replace_route(route.to, route.via.value_or(IpAddress{}), interface(route.dev));
}

Mirror* Configurator::interface(const std::string& name) {
  for (auto& [id, mirror] : parts_.network.port_mirrors())
    if (mirror.link().name == name) return &mirror;
  for (auto& [id, mirror] : parts_.network.tunnel_mirrors())
    if (mirror.link().name == name) return &mirror;
  return nullptr;
}

// --- reload ---

Configurator::Reloaded Configurator::reload() {
  const config::Loaded loaded = config::load(model_->file, parts_.machine);
  Reloaded result;
  for (const config::Diagnostic& error : loaded.errors) result.errors.push_back(config::to_string(error));
  if (!loaded.model) return result;
  const config::Delta delta = config::diff(*model_, *loaded.model);
  if (!delta.restart.empty()) {
    for (const std::string& change : delta.restart) result.errors.push_back(change + ": needs a restart");
    return result;
  }
  result.applied = config::describe(delta);
  apply_delta(delta, result.errors);
  model_ = loaded.model;
  return result;
}

void Configurator::apply_delta(const config::Delta& delta, std::vector<std::string>& problems) {
  for (const config::Route* route : delta.routes_removed)
    note(problems, parts_.network.delete_route(route->to, route->via.value_or(IpAddress{}), interface(route->dev)));
  for (const config::TunnelChange& change : delta.tunnels) apply_tunnel_change(change, problems);
  for (const config::Route* route : delta.routes_added) note(problems, apply_route(*route));
}

void Configurator::apply_tunnel_change(const config::TunnelChange& change, std::vector<std::string>& problems) {
  Tunnel& tunnel = *parts_.wireguard.find_tunnel(change.to->name);
  Mirror& mirror = *parts_.network.tunnel_mirror(tunnel.id());
  if (change.private_key) tunnel.set_private_key(change.to->private_key.clone());
  if (change.listen_port) note(problems, tunnel.set_listen_port(change.to->listen_port));
  if (change.fwmark) tunnel.set_fwmark(change.to->fwmark);
  if (change.mtu) {
    const uint16_t mtu = change.to->mtu.value_or(tunnel.derived_mtu());
    tunnel.set_mtu(mtu);
    tunnel.set_derives_mtu(!change.to->mtu);
    note(problems, parts_.network.set_mtu(mirror, mtu));
  }
  if (change.path_mtu_probe) tunnel.set_path_mtu_probe(change.to->path_mtu_probe);
  if (change.shared_allowed_ips) tunnel.share_allowed_ips(change.to->shared_allowed_ips);
  if (change.dscp) tunnel.set_dscp(change.to->dscp);
  if (change.mss_clamp) tunnel.set_mss_clamp(change.to->mss_clamp);
  if (change.addresses) {
    const auto& from = change.from->addresses;
    const auto& to = change.to->addresses;
    for (const auto& address : from)
      if (std::find(to.begin(), to.end(), address) == to.end())
        note(problems, parts_.network.delete_address(mirror, address));
    for (const auto& address : to)
      if (std::find(from.begin(), from.end(), address) == from.end())
        note(problems, parts_.network.add_address(mirror, address));
  }
  for (const config::Peer* peer : change.removed) {
    if (change.from->routes == config::RouteInstall::kAuto) remove_routes(tunnel, peer->allowed_ips);
    tunnel.remove_peer(peer->public_key);
  }
  for (const config::PeerChange& peer : change.changed) change_peer(tunnel, change, peer, problems);
  for (const config::Peer* peer : change.added) add_peer(tunnel, *change.to, *peer, problems);
  if (change.routes) {
    for (const config::Peer& peer : change.to->peers) {
      if (change.to->routes == config::RouteInstall::kAuto)
        install_routes(tunnel, peer.allowed_ips, problems);
      else
        remove_routes(tunnel, peer.allowed_ips);
    }
  }
}

// --- peers ---

void Configurator::add_peer(Tunnel& tunnel, const config::Tunnel& wanted, const config::Peer& peer,
                            std::vector<std::string>& problems) {
  PeerControl* added = tunnel.add_peer(peer.public_key);
  if (!added) {
    problems.push_back("tunnel " + tunnel.name() + ": peer " + peer.display_name() +
                       ": its public key is the tunnel's own, or there is no room for more peers");
    return;
  }
  added->name = peer.name;
  tunnel.set_preshared_key(*added, peer.preshared_key.clone());
  for (const Prefix& prefix : peer.allowed_ips) tunnel.add_allowed_ip(*added, prefix);
  tunnel.set_persistent_keepalive(*added, peer.persistent_keepalive);
  if (wanted.routes == config::RouteInstall::kAuto) install_routes(tunnel, peer.allowed_ips, problems);
  if (peer.endpoint) set_endpoint(tunnel, *added, *peer.endpoint);
  tunnel.apply_peer(*added);
}

void Configurator::change_peer(Tunnel& tunnel, const config::TunnelChange& change, const config::PeerChange& peer,
                               std::vector<std::string>& problems) {
  PeerControl* running = tunnel.find(peer.to->public_key);
  if (!running) {  // removed by hand in the meantime: the file wants it
    add_peer(tunnel, *change.to, *peer.to, problems);
    return;
  }
  running->name = peer.to->name;
  if (peer.preshared_key) tunnel.set_preshared_key(*running, peer.to->preshared_key.clone());
  if (peer.allowed_ips) {
    if (change.from->routes == config::RouteInstall::kAuto)
      remove_routes(tunnel, without(peer.from->allowed_ips, peer.to->allowed_ips));
    tunnel.replace_allowed_ips(*running);
    for (const Prefix& prefix : peer.to->allowed_ips) tunnel.add_allowed_ip(*running, prefix);
    if (change.to->routes == config::RouteInstall::kAuto)
      install_routes(tunnel, without(peer.to->allowed_ips, peer.from->allowed_ips), problems);
  }
  if (peer.persistent_keepalive) tunnel.set_persistent_keepalive(*running, peer.to->persistent_keepalive);
  if (peer.endpoint && peer.to->endpoint) set_endpoint(tunnel, *running, *peer.to->endpoint);
  tunnel.apply_peer(*running);
}

void Configurator::set_endpoint(Tunnel& tunnel, PeerControl& peer, const config::HostPort& endpoint) {
  const auto address = parse_address(endpoint.host);
  if (!address) return parts_.names.set(peer, endpoint);
  parts_.names.forget(peer);
  tunnel.set_endpoint(peer, Endpoint{*address, endpoint.port, 0});
}

void Configurator::install_routes(const Tunnel& tunnel, const std::vector<Prefix>& prefixes,
                                  std::vector<std::string>& problems) {
  const Mirror* mirror = parts_.network.tunnel_mirror(tunnel.id());
  for (const Prefix& prefix : prefixes)
    for (const Prefix& to : routes_for(prefix)) note(problems, parts_.network.replace_route(to, {}, mirror));
}

void Configurator::remove_routes(const Tunnel& tunnel, const std::vector<Prefix>& prefixes) {
  const Mirror* mirror = parts_.network.tunnel_mirror(tunnel.id());
  for (const Prefix& prefix : prefixes)
    for (const Prefix& to : routes_for(prefix)) (void)parts_.network.delete_route(to, {}, mirror);
}

}  // namespace sluice
