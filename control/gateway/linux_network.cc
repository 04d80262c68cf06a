#include "control/gateway/linux_network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>

#include "dataplane/wire/ip.h"

namespace sluice {

Result<std::unique_ptr<LinuxNetwork>> LinuxNetwork::create(EventLoop& loop, const Clock& clock, Rng& rng) {
  auto netlink = Netlink::open();
  if (!netlink) return netlink.error();
  return std::unique_ptr<LinuxNetwork>(new LinuxNetwork(loop, clock, rng, std::move(*netlink)));
}

LinuxNetwork::LinuxNetwork(EventLoop& loop, const Clock& clock, Rng& rng, std::unique_ptr<Netlink> netlink)
    : loop_(loop), clock_(clock), netlink_(std::move(netlink)), flows_(rng), builder_(flows_) {
  loop_.add(netlink_->fd(), EPOLLIN, [this](uint32_t) { receive(); });
}

LinuxNetwork::~LinuxNetwork() { loop_.remove(netlink_->fd()); }

// --- interfaces ---

Result<void> LinuxNetwork::add_port(const Port& port) {
  auto mirror = Mirror::create_port(*netlink_, port.name(), port.mac(), port.mtu());
  if (!mirror) return mirror.error();
  own_.ports.emplace(mirror->index(), port.id());
  if (port.vlan() != 0) own_.vlans.emplace(port.id(), port.vlan());
  ports_.emplace(port.id(), std::move(*mirror));
  return {};
}

Result<void> LinuxNetwork::add_tunnel(TunnelId id, const std::string& name, uint16_t mtu) {
  auto mirror = Mirror::create_tunnel(*netlink_, name, mtu);
  if (!mirror) return mirror.error();
  own_.tunnels.emplace(mirror->index(), id);
  tunnels_.emplace(id, std::move(*mirror));
  return {};
}

Mirror* LinuxNetwork::port_mirror(PortId id) noexcept {
  const auto it = ports_.find(id);
  return it == ports_.end() ? nullptr : &it->second;
}

Mirror* LinuxNetwork::tunnel_mirror(TunnelId id) noexcept {
  const auto it = tunnels_.find(id);
  return it == tunnels_.end() ? nullptr : &it->second;
}

std::set<PortId> LinuxNetwork::ports_with_ipv4() const {
  std::set<PortId> ports;
  for (const LinkAddress& a : model_.addresses()) {
    const auto port = own_.ports.find(a.interface);
    if (port != own_.ports.end() && a.address.address.is_ipv4()) ports.insert(port->second);
  }
  return ports;
}

Result<void> LinuxNetwork::bring_up(const Mirror& mirror) {
  Netlink::LinkSettings settings;
  settings.up = true;
  return netlink_->set_link(mirror.link(), settings);
}

Result<void> LinuxNetwork::set_mtu(const Mirror& mirror, uint16_t mtu) {
  Netlink::LinkSettings settings;
  settings.mtu = mtu;
  return netlink_->set_link(mirror.link(), settings);
}

Result<void> LinuxNetwork::add_address(const Mirror& mirror, const InterfaceAddress& address) {
  return netlink_->add_address(mirror.link(), address);
}

Result<void> LinuxNetwork::delete_address(const Mirror& mirror, const InterfaceAddress& address) {
  return netlink_->delete_address(mirror.link(), address);
}

Result<void> LinuxNetwork::replace_route(const Prefix& to, const IpAddress& via, const Mirror* dev) {
  return netlink_->replace_route({to, via, dev ? std::optional(dev->link()) : std::nullopt, 0});
}

Result<void> LinuxNetwork::delete_route(const Prefix& to, const IpAddress& via, const Mirror* dev) {
  return netlink_->delete_route({to, via, dev ? std::optional(dev->link()) : std::nullopt, 0});
}

// --- what Linux says ---

void LinuxNetwork::receive() {
  if (!netlink_->receive(model_)) return;  // a broken message changes nothing; an overrun is followed by a new dump
  if (waiting_since_.is_never()) waiting_since_ = clock_.now();
}

bool LinuxNetwork::update(MonoTime now) {
  if (waiting_since_.is_never() || now < waiting_since_ + kBatch || !netlink_->is_settled()) return false;
  waiting_since_ = {};
  changes_ = model_.take_changes();
  fib_changed_ = builder_.update(model_, own_, changes_);
  if (changes_.links) keep_macs();
  keep_neighbours_fresh();
  if (changes_.rules) warn_of_foreign_rules();
  return !changes_.empty() || fib_changed_;
}

// Linux announces an interface's MAC to the neighbours, and a NIC takes frames for its own alone. udev gives every new
// interface a MAC of its choice, and may do so after we have given it the port's: it looks first and acts later.
void LinuxNetwork::keep_macs() {
  for (const auto& [id, mirror] : ports_) {
    const Link* link = model_.link(mirror.index());
    if (link == nullptr || link->mac == mirror.mac()) continue;
    const auto set = netlink_->set_link(mirror.link(), {.mac = mirror.mac()});
    spdlog::warn("port {}: somebody changed its interface's MAC to {}; {}", mirror.link().name, to_string(link->mac),
                 set ? "it is the port's again, " + to_string(mirror.mac()) : set.error().what);
  }
}

// What fails now is asked for again when a packet needs it. One that somebody deletes is asked for at once: no packet
// may come to do so, because flows avoid next hops whose neighbour is not known.
void LinuxNetwork::keep_neighbours_fresh() {
  for (const auto& [key, used] : builder_.take_neighbour_changes()) {
    const Neighbour* known = model_.neighbour(key);
    const bool permanent = known != nullptr && known->state == Neighbour::State::kPermanent;
    if (used && !permanent && table_managed_.insert(key).second && !outer_managed_.contains(key))
      (void)netlink_->manage_neighbour(key);
    if (!used && table_managed_.erase(key) != 0 && !outer_managed_.contains(key))
      (void)netlink_->release_neighbour(key);
  }
  for (const NeighbourKey& key : changes_.neighbours)
    if (model_.neighbour(key) == nullptr && (table_managed_.contains(key) || outer_managed_.contains(key)))
      (void)netlink_->manage_neighbour(key);
}

void LinuxNetwork::warn_of_foreign_rules() {
  for (const Family family : {Family::kIpv4, Family::kIpv6})
    for (const Rule& rule : model_.rules(family))
      if (rule.foreign)
        spdlog::warn(
            "ip {}rule {}: packets that the gateway forwards do not follow it: they follow rules that ask for "
            "fwmark or destination",
            family == Family::kIpv6 ? "-6 " : "", rule.priority);
}

Result<void> LinuxNetwork::wait_until_settled(Nanoseconds timeout) {
  const MonoTime end = clock_.now() + timeout;
  do {
    if (auto received = netlink_->receive(model_); !received) return received;
    if (netlink_->is_settled()) {
      waiting_since_ = clock_.now() - kBatch;
      return {};
    }
    pollfd readable{netlink_->fd(), POLLIN, 0};
    poll(&readable, 1, 10);
  } while (clock_.now() < end);
  return Error{"Linux did not answer the first question about routes and addresses (netlink)", ETIMEDOUT};
}

// --- listen ports ---

namespace {

// The workers take the tunnel's datagrams before Linux sees them; the socket is there so that others find the port
// taken, and so that what Linux does see (fragments, say) is not answered with "port unreachable".
Result<Descriptor> bind_udp(int family, const sockaddr* address, socklen_t size, uint16_t port) {
  Descriptor fd(socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1, least = 1;
  if (family == AF_INET6) setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
  if (bind(fd.get(), address, size) == 0) return fd;
  if (errno == EADDRINUSE)
    return Error{"UDP port " + std::to_string(port) +
                     " is in use by another program of this host: stop it, or choose another " + "listen-port",
                 EADDRINUSE};
  return Error{"UDP port " + std::to_string(port) + ": " + std::strerror(errno), errno};
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}

Result<void> LinuxNetwork::claim_port(TunnelId tunnel, uint16_t listen_port) {
  sockaddr_in ipv4{};
  ipv4.sin_family = AF_INET;
  ipv4.sin_port = htons(listen_port);
  auto fd4 = bind_udp(AF_INET, reinterpret_cast<const sockaddr*>(&ipv4), sizeof ipv4, listen_port);
  if (!fd4) return fd4.error();
  sockaddr_in6 ipv6{};
  ipv6.sin6_family = AF_INET6;
  ipv6.sin6_port = htons(listen_port);
  auto fd6 = bind_udp(AF_INET6, reinterpret_cast<const sockaddr*>(&ipv6), sizeof ipv6, listen_port);
  if (!fd6 && fd6.error().code == EADDRINUSE) return fd6.error();  // else: a host without IPv6
  std::vector<Descriptor> claimed;
  claimed.push_back(std::move(*fd4));
  if (fd6) claimed.push_back(std::move(*fd6));
  claimed_[tunnel] = std::move(claimed);
  return {};
}

// --- ways out ---

OuterRoute LinuxNetwork::resolve(const OuterQuery& query) {
  const OuterResolution resolution =
      resolve_outer(model_, own_, {query.remote, query.local, query.listen_port, query.mark, flows_});
  // Linux never sees the traffic that uses this neighbour, so it is asked to keep the entry fresh.
  if (resolution.neighbour && outer_managed_.insert(*resolution.neighbour).second)
    (void)netlink_->manage_neighbour(*resolution.neighbour);
  else if (resolution.neighbour && resolution.route.state == OuterRoute::State::kUnresolved)
    (void)netlink_->probe_neighbour(*resolution.neighbour);
  return resolution.route;
}

OuterRoute LinuxNetwork::look_up(const OuterQuery& query) const {
  return resolve_outer(model_, own_, {query.remote, query.local, query.listen_port, query.mark, flows_}).route;
}

uint32_t LinuxNetwork::scope_of(PortId port) const noexcept {
  const auto it = ports_.find(port);
  return it == ports_.end() ? 0 : static_cast<uint32_t>(it->second.link().index);
}

void LinuxNetwork::ask_for(const NeighbourKey& neighbour) { (void)netlink_->probe_neighbour(neighbour); }

std::optional<NeighbourKey> LinuxNetwork::neighbour_towards(ConstBytes packet) {
  const IpAddress destination = destination_of(packet);
  const NextHop& hop = builder_.fib().find(destination, flows_.of(packet));
  if (hop.action != NextHop::Action::kPort && hop.action != NextHop::Action::kUnresolved) return std::nullopt;
  const Mirror* mirror = port_mirror(hop.port);
  if (!mirror) return std::nullopt;
  return NeighbourKey{hop.gateway.is_none() ? destination : hop.gateway, mirror->index()};
}

IpAddress LinuxNetwork::source_towards(const IpAddress& destination) const {
  const Route* route = model_.lookup(destination);
  const RouteHop* hop = route ? model_.live_hop(*route) : nullptr;
  if (!hop) return {};
  if (!route->preferred_source.is_none()) return route->preferred_source;
  return select_source(model_, hop->interface, hop->gateway.is_none() ? destination : hop->gateway, destination);
}

}  // namespace sluice
