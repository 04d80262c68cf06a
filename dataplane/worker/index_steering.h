// Has the ports steer (port/steering.h): knows which worker an index names, which queues that worker polls, and what
// the listen ports are. Control thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dataplane/base/strong.h"
#include "dataplane/pipeline/published.h"
#include "dataplane/port/port.h"

namespace sluice {

class IndexSteering {
 public:
  // Ports by PortId; they outlive it.
  IndexSteering(std::span<Port* const> ports, uint16_t workers);

  void follow(const Published& root);  // tells the ports if the listen ports are others than before

  // The worker that data under this index goes to when it arrives by `port`, one with a device or a VLAN on its cable:
  // the one that the index names, if that polls the port. Nothing: the port does not steer.
  std::optional<WorkerId> worker_of(uint32_t index, PortId port) const;

 private:
  struct Choice {
    Port* port = nullptr;  // with queues to choose from, else nullptr
    QueueByIndex by_index;
    std::vector<WorkerId> by_queue;
  };
  std::span<Port* const> ports_;
  std::vector<Choice> choices_;  // by PortId
  std::array<uint64_t, 1024> listen_ports_{};
};

}  // namespace sluice
