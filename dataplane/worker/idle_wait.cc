#include "dataplane/worker/idle_wait.h"

#include <algorithm>
#include <ctime>

namespace sluice {

IdleWait::IdleWait(const std::vector<ReceiveQueue>& queues, Doorbell& bell) : queues_(queues), bell_(bell) {
  descriptors_.reserve(queues.size() + 1);
}

void IdleWait::prepare() noexcept {
  descriptors_.clear();
  descriptors_.push_back({bell_.fd(), POLLIN, 0});
  blind_ = false;
  for (const ReceiveQueue& q : queues_) {
    const Wakeup wakeup = q.port->wakeup(q.queue);
    if (wakeup.kind == Wakeup::Kind::kNone) {
      blind_ = true;
      continue;
    }
    if (wakeup.kind == Wakeup::Kind::kInterrupt) q.port->arm_interrupt(q.queue, true);
    descriptors_.push_back({wakeup.fd, POLLIN, 0});
  }
  bell_.prepare_sleep();
}

void IdleWait::wait() noexcept { sleep(blind_ ? nap_ : kLongestSleep); }

void IdleWait::look() noexcept { sleep(std::chrono::nanoseconds(0)); }

void IdleWait::sleep(std::chrono::nanoseconds longest) noexcept {
  timespec timeout{.tv_sec = 0, .tv_nsec = longest.count()};
  const int ready = ppoll(descriptors_.data(), descriptors_.size(), &timeout, nullptr);
  if (ready == 0) nap_ = std::min(2 * nap_, kLongestNap);
  if (ready <= 0) return;
  // A descriptor in error is ready at once, again and again (its interface went away): it must not make us spin.
  const bool broken =
      std::none_of(descriptors_.begin(), descriptors_.end(), [](const pollfd& d) { return (d.revents & POLLIN) != 0; });
  if (!broken) return;
  const timespec pause{.tv_sec = 0, .tv_nsec = kLongestNap.count()};
  nanosleep(&pause, nullptr);
}

void IdleWait::finish() noexcept {
  bell_.woke_up();
  if (descriptors_[0].revents != 0) bell_.clear();
  for (const ReceiveQueue& q : queues_) {
    if (q.port->wakeup(q.queue).kind == Wakeup::Kind::kInterrupt) q.port->arm_interrupt(q.queue, false);
  }
}

}  // namespace sluice
