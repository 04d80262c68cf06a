#include "dataplane/worker/index_steering.h"

#include <algorithm>

#include "dataplane/session/session_table.h"
#include "dataplane/worker/queue_plan.h"

namespace sluice {
namespace {

// A name that no worker has is as good as the worker's of that number modulo theirs; one whose worker does not poll the
// port, as any queue.
QueueByIndex queues_by_index(const std::vector<WorkerId>& by_queue, uint16_t workers) {
  QueueByIndex by_index;
  for (uint32_t name = 0; name <= SessionTable::worker_mask(workers); ++name) {
    const WorkerId worker{static_cast<uint8_t>(name % workers)};
    const auto polled = std::ranges::find(by_queue, worker);
    const auto queue =
        polled != by_queue.end() ? static_cast<size_t>(polled - by_queue.begin()) : name % by_queue.size();
    by_index.queues.push_back(static_cast<uint16_t>(queue));
  }
  return by_index;
}

std::vector<uint16_t> listed(const std::array<uint64_t, 1024>& bitmap) {
  std::vector<uint16_t> ports;
  for (unsigned port = 0; port < 65536; ++port)
    if (((bitmap[port / 64] >> (port % 64)) & 1) != 0) ports.push_back(static_cast<uint16_t>(port));
  return ports;
}

}  // namespace

IndexSteering::IndexSteering(std::span<Port* const> ports, uint16_t workers) : ports_(ports), choices_(ports.size()) {
  QueuePlan plan = plan_queues(ports, workers);
  for (size_t p = 0; p < ports.size(); ++p) {
    if (workers == 1 || plan[p].size() < 2) continue;
    QueueByIndex by_index = queues_by_index(plan[p], workers);
    choices_[p] = {ports[p], std::move(by_index), std::move(plan[p])};
  }
}

void IndexSteering::follow(const Published& root) {
  if (root.listen_ports == listen_ports_) return;
  listen_ports_ = root.listen_ports;
  const std::vector<uint16_t> listen_ports = listed(listen_ports_);
  for (const Choice& choice : choices_)
    if (choice.port != nullptr) choice.port->steer(choice.by_index, listen_ports);
}

std::optional<WorkerId> IndexSteering::worker_of(uint32_t index, PortId port) const {
  if (port == kNoPort) return {};
  const PortId parent = ports_[port.value]->parent();
  const Choice& choice = choices_[(parent == kNoPort ? port : parent).value];
  if (choice.port == nullptr || choice.port->steering().state != Steering::State::kOn) return {};
  return choice.by_queue[choice.by_index.queue_of(index)];
}

}  // namespace sluice
