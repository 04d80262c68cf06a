#include "control/gateway/control_plane.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace sluice {

bool ControlPlane::look_after_host() {
  const bool more = parts_.slow_path.drain_punts();
  follow_linux();
  if (parts_.wireguard.take_route_mtus_changed()) follow_route_mtus();
  parts_.slow_path.expire(parts_.clock.now());
  parts_.names.turn();
  links_.turn();
  return more;
}

MonoTime ControlPlane::next_host_deadline() const {
  const MonoTime update = parts_.network.next_update();
  const MonoTime expiry = parts_.slow_path.next_deadline().value_or(MonoTime{});
  MonoTime earliest;
  for (const MonoTime deadline : {update, expiry, parts_.names.next_deadline(), links_.next_deadline()})
    if (earliest.is_never() || (!deadline.is_never() && deadline < earliest)) earliest = deadline;
  return earliest;
}

void ControlPlane::follow_linux() {
  if (!parts_.network.update(parts_.clock.now())) return;
  follow_interfaces();
  if (parts_.network.fib_changed()) {
    auto garbage = std::make_shared<FibGarbage>(parts_.network.take_fib_garbage());
    parts_.publisher.set_fib(parts_.network.fib(), [garbage] {});
  }
  parts_.wireguard.on_routes_changed();
  parts_.slow_path.on_neighbours_changed(parts_.network.changes());
}

// A tunnel is up and as wide as its interface in Linux says.
void ControlPlane::follow_interfaces() {
  for (const auto& tunnel : parts_.wireguard.tunnels()) {
    const Mirror* mirror = parts_.network.tunnel_mirror(tunnel->id());
    const Link* link = mirror ? parts_.network.model().link(mirror->index()) : nullptr;
    if (link) tunnel->set_mtu(static_cast<uint16_t>(std::min<uint32_t>(link->mtu, UINT16_MAX)));
    tunnel->set_up(link && link->up);
    if (!mirror) continue;
    std::vector<IpAddress> own;
    for (const LinkAddress& a : parts_.network.model().addresses())
      if (a.interface == mirror->index()) own.push_back(a.address.address);
    tunnel->set_addresses(std::move(own));
  }
  parts_.publisher.set_ports_with_ipv4(parts_.network.ports_with_ipv4());
}

// A tunnel without an MTU of its own takes what the routes to its peers leave. Set only when that changes: what the
// operator sets by hand stands until then.
void ControlPlane::follow_route_mtus() {
  for (const auto& tunnel : parts_.wireguard.tunnels()) {
    const Mirror* mirror = parts_.network.tunnel_mirror(tunnel->id());
    if (!mirror || !tunnel->derives_mtu()) continue;
    const uint16_t mtu = tunnel->derived_mtu();
    if (std::exchange(derived_mtus_[tunnel->id()], mtu) == mtu) continue;
    if (auto done = parts_.network.set_mtu(*mirror, mtu); !done)
      spdlog::warn("tunnel {}: mtu {}: {}", tunnel->name(), mtu, done.error().what);
  }
}

}  // namespace sluice
