#include "control/gateway/port_links.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace sluice {

void PortLinks::turn() {
  const MonoTime now = clock_.now();
  if (!next_look_.is_never() && now < next_look_) return;
  next_look_ = now + kInterval;
  for (const Port* port : dataplane_.ports())
    if (port->is_leaving()) let_go(*port);
  for (auto& [id, mirror] : network_.port_mirrors()) follow(*dataplane_.ports()[id.value], mirror);
}

void PortLinks::follow(const Port& port, Mirror& mirror) {
  const bool up = port.link_up();
  const bool was_up = std::exchange(carriers_.try_emplace(port.id(), true).first->second, up);
  if (up == was_up) return;
  spdlog::info("port {}: link {}", port.name(), up ? "up" : "down");
  if (auto done = mirror.set_carrier(up); !done) spdlog::warn("port {}: {}", port.name(), done.error().what);
}

void PortLinks::let_go(const Port& port) {
  const auto running = dataplane_.let_go(port.id());
  spdlog::warn("port {}: {} was unplugged; the other ports go on, a restart takes what is plugged in then", port.name(),
               port.device());
  if (!running) spdlog::error("port {}: workers do not go on: {}", port.name(), running.error().what);
}

}  // namespace sluice
