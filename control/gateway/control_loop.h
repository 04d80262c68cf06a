// The control thread's loop, the same whatever the tunnels run over: turn() does everything that is due in bounded
// portions. Nothing in it waits, and nothing in it makes a worker wait. Who derives from it adds the host's side.
#pragma once

#include "control/gateway/publisher.h"
#include "control/gateway/steering_log.h"
#include "control/loop/event_loop.h"
#include "control/wg/wireguard.h"

namespace sluice {

class ControlLoop {
 public:
  struct Core {  // everything here outlives it
    EventLoop& loop;
    const Clock& clock;
    Dataplane& dataplane;
    Wireguard& wireguard;
    Publisher& publisher;
  };
  explicit ControlLoop(const Core& core) : core_(core) {}
  virtual ~ControlLoop() = default;
  ControlLoop(const ControlLoop&) = delete;
  ControlLoop& operator=(const ControlLoop&) = delete;

  void run();                             // until stop()
  void stop() noexcept { stop_ = true; }  // from the control thread (a signal's callback)
  bool turn();                            // true: there is more to do at once
  void publish();                         // what has changed; afterwards workers see it. turn() does it, too

 protected:
  // What the host has said, and what workers have for it; bounded. True: there may be more at once.
  virtual bool look_after_host() = 0;
  virtual MonoTime next_host_deadline() const { return {}; }  // never: none

 private:
  Nanoseconds time_to_sleep() const;

  Core core_;
  SteeringLog steering_log_;
  bool stop_ = false;
};

}  // namespace sluice
