#include "dataplane/worker/queue_plan.h"

namespace sluice {

QueuePlan plan_queues(std::span<Port* const> ports, uint16_t workers) {
  QueuePlan plan;
  unsigned turn = 0;
  for (const Port* port : ports) {
    std::vector<WorkerId>& queues = plan.emplace_back();
    const uint16_t count = port == nullptr ? 0 : port->receive_queues();
    for (uint16_t q = 0; q < count; ++q) queues.push_back(WorkerId{static_cast<uint8_t>(turn++ % workers)});
  }
  return plan;
}

}  // namespace sluice
