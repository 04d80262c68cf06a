// Assembles the root that workers read from what control holds, and publishes it when something has changed: at most
// once a turn. Control thread only.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "control/wg/wireguard.h"
#include "dataplane/forward/fib.h"
#include "dataplane/worker/dataplane.h"

namespace sluice {

class Publisher {
 public:
  Publisher(Dataplane& dataplane, Wireguard& wireguard) : dataplane_(dataplane), wireguard_(wireguard) {}

  // `free_old` destroys what only earlier tables use; it is called a grace period after the new root was published.
  void set_fib(const Fib& fib, std::function<void()> free_old);
  // Before the first publication; ports without one believe every source.
  void set_reverse_paths(std::vector<ReversePath> by_port) { reverse_paths_ = std::move(by_port); }
  // Ports whose mirror has an IPv4 address; until the first call all are believed to have one.
  void set_ports_with_ipv4(std::set<PortId> ports);
  bool publish_if_changed();  // false: nothing has

 private:
  Dataplane& dataplane_;
  Wireguard& wireguard_;
  Fib fib_;
  std::vector<ReversePath> reverse_paths_;
  std::optional<std::set<PortId>> ports_with_ipv4_;
  bool changed_ = true;
  std::vector<std::function<void()>> free_old_;
};

}  // namespace sluice
