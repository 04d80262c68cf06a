#include "control/loop/event_loop.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace sluice {

EventLoop::EventLoop() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_ < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
}

EventLoop::~EventLoop() { close(epoll_); }

void EventLoop::add(int fd, uint32_t epoll_events, Callback callback) {
  epoll_event event{};
  event.events = epoll_events;
  event.data.fd = fd;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0)
    throw std::system_error(errno, std::generic_category(), "epoll_ctl");
  callbacks_[fd] = std::make_shared<Callback>(std::move(callback));
}

void EventLoop::modify(int fd, uint32_t epoll_events) {
  epoll_event event{};
  event.events = epoll_events;
  event.data.fd = fd;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::remove(int fd) {
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
  callbacks_.erase(fd);
}

void EventLoop::wait(Nanoseconds timeout) {
  std::array<epoll_event, 64> ready;
  // Rounded up: waking a little late is harmless, waking early would spin until the deadline.
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
  const int n = epoll_wait(epoll_, ready.data(), static_cast<int>(ready.size()),
                           timeout.count() < 0 ? -1 : static_cast<int>(std::min<int64_t>(milliseconds, 60'000)));
  for (int i = 0; i < n; ++i) {
    const auto it = callbacks_.find(ready[static_cast<size_t>(i)].data.fd);
    if (it == callbacks_.end()) continue;               // removed by an earlier callback
    const std::shared_ptr<Callback> keep = it->second;  // the callback may remove itself
    (*keep)(ready[static_cast<size_t>(i)].events);
  }
}

}  // namespace sluice
