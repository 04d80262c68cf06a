// The control thread's epoll: descriptors and what to do when they are ready. One thread; callbacks may add and remove
// descriptors, their own included.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

#include "dataplane/base/clock.h"

namespace sluice {

class EventLoop {
 public:
  using Callback = std::function<void(uint32_t epoll_events)>;

  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  void add(int fd, uint32_t epoll_events, Callback callback);
  void modify(int fd, uint32_t epoll_events);
  void remove(int fd);  // before the descriptor is closed

  // Waits for at most `timeout` (negative: for ever) and calls what is ready.
  void wait(Nanoseconds timeout);

 private:
  int epoll_;
  std::unordered_map<int, std::shared_ptr<Callback>> callbacks_;
};

}  // namespace sluice
