// Steering: data messages arrive in the queue of the worker that owns their session, which the low bits of their
// receiver index name, so that the gateway and not the sender's address and port decides the worker. Who decides
// (worker/index_steering.h) tells the ports; what a port makes of it is its device's matter (nic_steering.h,
// socket_steering.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

// The receive queue for each value of an index's low bits.
struct QueueByIndex {
  std::vector<uint16_t> queues;  // a power of two of them

  uint32_t mask() const noexcept { return static_cast<uint32_t>(queues.size()) - 1; }
  uint16_t queue_of(uint32_t index) const noexcept { return queues[index & mask()]; }
  bool operator==(const QueueByIndex&) const = default;
};

// What a port has made of it.
struct Steering {
  enum class State : uint8_t {
    kNone,     // nobody has asked: there is one queue or one worker, or no listen port
    kOff,      // the configuration says so
    kRefused,  // the device does not do it: `why`
    kOn,
  } state = State::kNone;
  std::string why;  // kRefused: the driver, and what it says

  bool operator==(const Steering&) const = default;
};

}  // namespace sluice
