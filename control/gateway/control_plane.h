// The control thread: one event loop, and turn() in which everything that is due is done in bounded portions. Nothing
// in it waits, and nothing in it makes a worker wait.
#pragma once

#include <atomic>
#include <memory>

#include "control/gateway/linux_network.h"
#include "control/gateway/publisher.h"
#include "control/gateway/slow_path.h"
#include "control/loop/event_loop.h"
#include "control/wg/wireguard.h"

namespace sluice {

class ControlPlane {
 public:
  struct Parts {  // everything here outlives it
    EventLoop& loop;
    const Clock& clock;
    Dataplane& dataplane;
    Wireguard& wireguard;
    LinuxNetwork& network;
    SlowPath& slow_path;
    Publisher& publisher;
  };
  explicit ControlPlane(Parts parts) : parts_(parts) {}

  void run();                             // until stop()
  void stop() noexcept { stop_ = true; }  // from the control thread (a signal's callback)
  bool turn();                            // true: there is more to do at once

 private:
  void follow_linux();
  void follow_interfaces();
  Nanoseconds time_to_sleep() const;

  Parts parts_;
  bool stop_ = false;
};

}  // namespace sluice
