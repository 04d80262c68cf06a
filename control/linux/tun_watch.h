// A TUN interface as the administrator sees it, by rtnetlink: up or down, its MTU, gone. Followed into whatever network
// namespace it is moved; the descriptor leads there (TUNGETDEVNETNS). Control thread.
#pragma once

#include <cstdint>
#include <string>

#include "dataplane/base/result.h"

struct nlmsghdr;

namespace sluice {

class TunWatch {
 public:
  struct State {
    bool gone = false;
    bool up = false;
    uint32_t mtu = 0;
    bool operator==(const State&) const = default;
  };

  // `tun` is the interface's descriptor and outlives the watch. State is known on return.
  static Result<TunWatch> open(int tun);
  TunWatch(TunWatch&& other) noexcept;
  TunWatch& operator=(TunWatch&&) = delete;
  ~TunWatch();

  int fd() const noexcept { return fd_; }  // readable: call update(). Another one after the interface was moved
  const State& update();                   // takes in what Linux has said
  const State& state() const noexcept { return state_; }

 private:
  explicit TunWatch(int tun) : tun_(tun) {}
  Result<void> attach();
  Result<void> wait_for_state();
  void handle(const nlmsghdr& message);
  void look_for_it();

  int tun_;
  int fd_ = -1;
  std::string name_;
  int index_ = 0;  // 0: not known yet
  bool lost_ = false;
  State state_;
};

// Tells when Linux may choose another source or way for our packets: its routes or addresses have changed. Which ones
// does not matter to those who ask.
class RouteWatch {
 public:
  static Result<RouteWatch> open();
  RouteWatch(RouteWatch&& other) noexcept;
  RouteWatch& operator=(RouteWatch&&) = delete;
  ~RouteWatch();

  int fd() const noexcept { return fd_; }
  void drain() noexcept;

 private:
  explicit RouteWatch(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace sluice
