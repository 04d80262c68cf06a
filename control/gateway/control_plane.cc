#include "control/gateway/control_plane.h"

#include <sys/epoll.h>

#include <algorithm>

namespace sluice {
namespace {

// Grace periods end, and stale kernel answers are noticed, without anybody ringing: look at least this often while
// something waits.
constexpr Nanoseconds kGraceCheck = std::chrono::milliseconds(2);
constexpr Nanoseconds kLongestSleep = std::chrono::seconds(1);

}  // namespace

void ControlPlane::run() {
  Doorbell& bell = parts_.dataplane.control_bell();
  parts_.loop.add(bell.fd(), EPOLLIN, [&bell](uint32_t) { bell.woke_up(); });
  while (!stop_) {
    if (turn()) {
      parts_.loop.wait(Nanoseconds(0));
      continue;
    }
    bell.prepare_sleep();
    const bool work_arrived = turn();  // what was posted between the last look and prepare_sleep() rang no bell
    parts_.loop.wait(work_arrived || stop_ ? Nanoseconds(0) : time_to_sleep());
    bell.woke_up();
  }
  parts_.loop.remove(bell.fd());
}

bool ControlPlane::turn() {
  bool more = parts_.wireguard.drain_handshakes();
  more |= parts_.wireguard.drain_events();
  more |= parts_.slow_path.drain_punts();
  follow_linux();
  more |= parts_.wireguard.run_timers();
  more |= parts_.wireguard.refresh_routes();
  parts_.wireguard.post_waiting_commands();
  parts_.slow_path.expire(parts_.clock.now());
  parts_.publisher.publish_if_changed();
  parts_.dataplane.collect();
  return more;
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

Nanoseconds ControlPlane::time_to_sleep() const {
  const MonoTime now = parts_.clock.now();
  Nanoseconds sleep = kLongestSleep;
  const auto until = [&](MonoTime deadline) {
    if (!deadline.is_never()) sleep = std::clamp(deadline - now, Nanoseconds(0), sleep);
  };
  until(parts_.wireguard.next_deadline());
  until(parts_.network.next_update());
  if (const auto deadline = parts_.slow_path.next_deadline()) until(*deadline);
  sleep = parts_.clock.real_duration(sleep);
  return parts_.dataplane.retired() > 0 ? std::min(sleep, kGraceCheck) : sleep;
}

}  // namespace sluice
