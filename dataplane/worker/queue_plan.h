// Which worker polls which receive queue.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/base/strong.h"
#include "dataplane/port/port.h"

namespace sluice {

using QueuePlan = std::vector<std::vector<WorkerId>>;  // by port (as in the span), then by its queue

// Every receive queue of every port has one worker. Dealt out in turn over all ports, so that ports with few queues
// (one each, say) do not all end up with the first worker. A place without a port has no queues.
QueuePlan plan_queues(std::span<Port* const> ports, uint16_t workers);

}  // namespace sluice
