#include "control/gateway/steering_log.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace sluice {

void SteeringLog::look_at(std::span<Port* const> ports) {
  for (const Port* port : ports) {
    const Steering now = port->steering();
    if (std::exchange(said_[port->id()], now) == now) continue;
    if (now.state == Steering::State::kOn)
      spdlog::info("port {}: data messages go to the worker that their receiver index names", port->name());
    if (now.state == Steering::State::kRefused)
      spdlog::info("port {}: senders' addresses and ports choose the worker, not the receiver index: {}", port->name(),
                   now.why);
  }
}

}  // namespace sluice
