#include "control/gateway/control_plane.h"

#include <algorithm>

namespace sluice {

bool ControlPlane::look_after_host() {
  const bool more = parts_.slow_path.drain_punts();
  follow_linux();
  parts_.slow_path.expire(parts_.clock.now());
  return more;
}

MonoTime ControlPlane::next_host_deadline() const {
  const MonoTime update = parts_.network.next_update();
  const MonoTime expiry = parts_.slow_path.next_deadline().value_or(MonoTime{});
  if (update.is_never() || expiry.is_never()) return update.is_never() ? expiry : update;
  return std::min(update, expiry);
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
  }
}

}  // namespace sluice
