// First what needs a restart, then tunnels with their peers, then routes; in the end the words for all of it.
#include "config/diff.h"

#include <algorithm>
#include <unordered_map>

#include "config/fields.h"

namespace sluice::config {
namespace {

template <class T>
bool same_set(std::vector<T> a, std::vector<T> b) {
  std::ranges::sort(a);
  std::ranges::sort(b);
  return a == b;
}

std::string value_of(const std::vector<Field>& fields, std::string_view key) {
  const auto field = std::ranges::find(fields, key, &Field::key);
  return field == fields.end() ? "unset" : field->value;
}

// "mtu 1500 -> 9000"
std::string change_of(std::string_view key, const std::vector<Field>& from, const std::vector<Field>& to) {
  return std::string(key) + " " + value_of(from, key) + " -> " + value_of(to, key);
}

// One line for each field that is not as it was.
void append_changes(std::vector<std::string>& lines, const std::string& subject, const std::vector<Field>& from,
                    const std::vector<Field>& to) {
  for (const Field& field : from)
    if (value_of(to, field.key) != field.value) lines.push_back(subject + ": " + change_of(field.key, from, to));
  for (const Field& field : to)
    if (std::ranges::find(from, field.key, &Field::key) == from.end())
      lines.push_back(subject + ": " + change_of(field.key, from, to));
}

template <class T>
const T* find_named(const std::vector<T>& list, const std::string& name) {
  const auto it = std::ranges::find(list, name, &T::name);
  return it == list.end() ? nullptr : &*it;
}

std::string subject_of(const Port& port) { return "port " + port.name; }
std::string subject_of(const Tunnel& tunnel) { return "tunnel " + tunnel.name; }

template <class T>
void append_come_and_gone(std::vector<std::string>& lines, const std::vector<T>& from, const std::vector<T>& to) {
  for (const T& old : from)
    if (find_named(to, old.name) == nullptr) lines.push_back(subject_of(old) + " removed");
  for (const T& fresh : to)
    if (find_named(from, fresh.name) == nullptr) lines.push_back(subject_of(fresh) + " added");
}

std::vector<std::string> restarts(const Model& running, const Model& wanted) {
  std::vector<std::string> lines;
  append_changes(lines, "gateway", fields_of(running.gateway), fields_of(wanted.gateway));
  append_come_and_gone(lines, running.ports, wanted.ports);
  for (const Port& port : running.ports)
    if (const Port* now = find_named(wanted.ports, port.name))
      append_changes(lines, subject_of(port), fields_of(port), fields_of(*now));
  append_come_and_gone(lines, running.tunnels, wanted.tunnels);
  return lines;
}

PeerChange compare(const Peer& from, const Peer& to) {
  PeerChange change{&from, &to};
  change.name = from.name != to.name;
  change.preshared_key = !from.preshared_key.equals(to.preshared_key);
  change.endpoint = from.endpoint != to.endpoint;
  change.allowed_ips = !same_set(from.allowed_ips, to.allowed_ips);
  change.persistent_keepalive = from.persistent_keepalive != to.persistent_keepalive;
  return change;
}

void compare_peers(TunnelChange& change) {
  std::unordered_map<PublicKey, const Peer*, PublicKeyHash> gone;
  gone.reserve(change.from->peers.size());
  for (const Peer& peer : change.from->peers) gone.emplace(peer.public_key, &peer);
  for (const Peer& peer : change.to->peers) {
    const auto before = gone.find(peer.public_key);
    if (before == gone.end()) {
      change.added.push_back(&peer);
      continue;
    }
    const PeerChange changed = compare(*before->second, peer);
    if (!changed.empty()) change.changed.push_back(changed);
    gone.erase(before);
  }
  for (const Peer& peer : change.from->peers)  // in the file's order
    if (gone.contains(peer.public_key)) change.removed.push_back(&peer);
}

TunnelChange compare(const Tunnel& from, const Tunnel& to) {
  TunnelChange change{&from, &to};
  change.private_key = !from.private_key.equals(to.private_key);
  change.listen_port = from.listen_port != to.listen_port;
  change.addresses = !same_set(from.addresses, to.addresses);
  change.mtu = from.mtu != to.mtu;
  change.mss_clamp = from.mss_clamp != to.mss_clamp;
  change.path_mtu_probe = from.path_mtu_probe != to.path_mtu_probe;
  change.dscp = from.dscp != to.dscp;
  change.routes = from.routes != to.routes;
  change.fwmark = from.fwmark != to.fwmark;
  change.shared_allowed_ips = from.shared_allowed_ips != to.shared_allowed_ips;
  compare_peers(change);
  return change;
}

std::vector<const Route*> missing_in(const std::vector<Route>& routes, const std::vector<Route>& others) {
  std::vector<const Route*> result;
  for (const Route& route : routes)
    if (std::ranges::find(others, route) == others.end()) result.push_back(&route);
  return result;
}

void describe_peer(std::vector<std::string>& lines, const std::string& tunnel, const PeerChange& change) {
  const std::string subject = tunnel + ": peer " + change.to->display_name() + ": ";
  const std::vector<Field> from = fields_of(*change.from);
  const std::vector<Field> to = fields_of(*change.to);
  if (change.name) lines.push_back(subject + change_of("name", from, to));
  if (change.preshared_key) lines.push_back(subject + "preshared-key changed");
  if (change.endpoint) lines.push_back(subject + change_of("endpoint", from, to));
  if (change.allowed_ips) lines.push_back(subject + change_of("allowed-ips", from, to));
  if (change.persistent_keepalive) lines.push_back(subject + change_of("persistent-keepalive", from, to));
}

void describe_tunnel(std::vector<std::string>& lines, const TunnelChange& change) {
  const std::string subject = subject_of(*change.to);
  const std::vector<Field> from = fields_of(*change.from);
  const std::vector<Field> to = fields_of(*change.to);
  if (change.private_key) lines.push_back(subject + ": private-key changed");
  if (change.listen_port) lines.push_back(subject + ": " + change_of("listen-port", from, to));
  if (change.addresses) lines.push_back(subject + ": " + change_of("addresses", from, to));
  if (change.mtu) lines.push_back(subject + ": " + change_of("mtu", from, to));
  if (change.mss_clamp) lines.push_back(subject + ": " + change_of("mss-clamp", from, to));
  if (change.path_mtu_probe) lines.push_back(subject + ": " + change_of("path-mtu-probe", from, to));
  if (change.dscp) lines.push_back(subject + ": " + change_of("dscp", from, to));
  if (change.routes) lines.push_back(subject + ": " + change_of("routes", from, to));
  if (change.fwmark) lines.push_back(subject + ": " + change_of("fwmark", from, to));
  if (change.shared_allowed_ips) lines.push_back(subject + ": " + change_of("shared-allowed-ips", from, to));
  for (const Peer* peer : change.removed) lines.push_back(subject + ": peer " + peer->display_name() + " removed");
  for (const Peer* peer : change.added) lines.push_back(subject + ": peer " + peer->display_name() + " added");
  for (const PeerChange& peer : change.changed) describe_peer(lines, subject, peer);
}

}  // namespace

Delta diff(const Model& running, const Model& wanted) {
  Delta delta;
  delta.restart = restarts(running, wanted);
  for (const Tunnel& tunnel : running.tunnels) {
    const Tunnel* now = find_named(wanted.tunnels, tunnel.name);
    if (now == nullptr) continue;
    TunnelChange change = compare(tunnel, *now);
    if (!change.empty()) delta.tunnels.push_back(std::move(change));
  }
  delta.routes_removed = missing_in(running.routes, wanted.routes);
  delta.routes_added = missing_in(wanted.routes, running.routes);
  return delta;
}

std::vector<std::string> describe(const Delta& delta) {
  std::vector<std::string> lines;
  for (const TunnelChange& tunnel : delta.tunnels) describe_tunnel(lines, tunnel);
  for (const Route* route : delta.routes_removed) lines.push_back("route " + to_string(*route) + " removed");
  for (const Route* route : delta.routes_added) lines.push_back("route " + to_string(*route) + " added");
  return lines;
}

}  // namespace sluice::config
