#include "dataplane/pipeline/transmit.h"

#include <rte_mbuf.h>

#include <utility>

namespace sluice {
namespace {

constexpr unsigned kAttempts =
    4;  // a full hardware queue drains a few descriptors meanwhile; more would stall receiving

}  // namespace

TransmitQueues::TransmitQueues(std::span<Port* const> ports, WorkerId worker, DropCounters& drops, WorkerStats& stats)
    : queue_index_(worker.value),
      drops_(drops),
      stats_(stats),
      ports_(ports.size()),
      queues_(std::make_unique<Queue[]>(ports_)) {
  for (size_t i = 0; i < ports.size(); ++i) {
    if (ports[i] == nullptr || queue_index_ >= ports[i]->transmit_queues()) continue;
    queues_[i].port = ports[i];
    queues_[i].offloads = ports[i]->offloads();
    queues_[i].by_itself = ports[i]->transmits_by_itself();
  }
}

TransmitQueues::~TransmitQueues() {
  for (Queue& queue : std::span(queues_.get(), ports_)) rte_pktmbuf_free_bulk(queue.frames.data(), queue.count);
}

void TransmitQueues::drop(rte_mbuf* frame) noexcept {
  drops_.add(Drop::port_gone);
  rte_pktmbuf_free(frame);
}

void TransmitQueues::forget(PortId port) noexcept {
  if (port.value >= ports_) return;
  Queue& queue = queues_[port.value];
  drops_.add(Drop::port_gone, queue.count);
  rte_pktmbuf_free_bulk(queue.frames.data(), queue.count);
  queue.count = 0;
  queue.port = nullptr;
}

unsigned TransmitQueues::flush() noexcept {
  for (Queue& queue : std::span(queues_.get(), ports_)) {
    if (queue.count != 0)
      transmitted_ += flush(queue);
    else if (queue.by_itself)
      queue.port->transmit(queue_index_, nullptr, 0);
  }
  return std::exchange(transmitted_, 0);
}

unsigned TransmitQueues::flush(Queue& queue) noexcept {
  const uint64_t began = stats_.clock();
  unsigned sent = 0;
  for (unsigned attempt = 0; attempt < kAttempts && sent < queue.count; ++attempt)
    sent += queue.port->transmit(queue_index_, queue.frames.data() + sent, static_cast<uint16_t>(queue.count - sent));
  const unsigned unsent = queue.count - sent;
  if (unsent != 0) {
    drops_.add(Drop::transmit_full, unsent);
    rte_pktmbuf_free_bulk(queue.frames.data() + sent, unsent);
  }
  const uint64_t cycles = stats_.clock() - began;
  stats_.note(Stage::transmit, queue.count, cycles);
  stats_.accounted += cycles;
  queue.count = 0;
  return sent;
}

}  // namespace sluice
