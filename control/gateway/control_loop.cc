#include "control/gateway/control_loop.h"

#include <sys/epoll.h>

#include <algorithm>

namespace sluice {
namespace {

// Grace periods end, and stale kernel answers are noticed, without anybody ringing: look at least this often while
// something waits.
constexpr Nanoseconds kGraceCheck = std::chrono::milliseconds(2);
constexpr Nanoseconds kLongestSleep = std::chrono::seconds(1);

}  // namespace

void ControlLoop::run() {
  Doorbell& bell = core_.dataplane.control_bell();
  core_.loop.add(bell.fd(), EPOLLIN, [&bell](uint32_t) { bell.clear(); });
  while (!stop_) {
    if (turn()) {
      core_.loop.wait(Nanoseconds(0));
      continue;
    }
    bell.prepare_sleep();
    const bool work_arrived = turn();  // what was posted between the last look and prepare_sleep() rang no bell
    core_.loop.wait(work_arrived || stop_ ? Nanoseconds(0) : time_to_sleep());
    bell.woke_up();
  }
  core_.loop.remove(bell.fd());
}

bool ControlLoop::turn() {
  bool more = core_.wireguard.drain_handshakes();
  more |= core_.wireguard.drain_events();
  more |= look_after_host();
  more |= core_.wireguard.run_timers();
  more |= core_.wireguard.refresh_routes();
  core_.wireguard.post_waiting_commands();
  publish();
  core_.dataplane.collect();
  return more;
}

void ControlLoop::publish() {
  if (core_.publisher.publish_if_changed()) steering_log_.look_at(core_.dataplane.ports());
}

Nanoseconds ControlLoop::time_to_sleep() const {
  const MonoTime now = core_.clock.now();
  Nanoseconds sleep = kLongestSleep;
  for (const MonoTime deadline : {core_.wireguard.next_deadline(), next_host_deadline()})
    if (!deadline.is_never()) sleep = std::clamp(deadline - now, Nanoseconds(0), sleep);
  sleep = core_.clock.real_duration(sleep);
  return core_.dataplane.retired() > 0 ? std::min(sleep, kGraceCheck) : sleep;
}

}  // namespace sluice
