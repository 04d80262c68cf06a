// Frames on their way out of this worker: collected per port during a poll, handed to the port in bursts. One worker's
// thread only.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "dataplane/base/strong.h"
#include "dataplane/pipeline/drop.h"
#include "dataplane/pipeline/stats.h"
#include "dataplane/port/port.h"

namespace sluice {

class TransmitQueues {
 public:
  // Worker n uses transmit queue n of every port. `ports`, `drops` and `stats` outlive it.
  TransmitQueues(std::span<Port* const> ports, WorkerId worker, DropCounters& drops, WorkerStats& stats);
  ~TransmitQueues();  // frees what was not flushed
  TransmitQueues(const TransmitQueues&) = delete;
  TransmitQueues& operator=(const TransmitQueues&) = delete;

  // A complete frame. Drops: port_gone, transmit_full.
  void push(PortId port, rte_mbuf* frame) noexcept;
  // Hands everything to the ports and returns how many packets they took. What a port does not take after a few
  // attempts is dropped.
  unsigned flush() noexcept;

  // What the port's hardware does; nothing for a port that does not exist.
  Port::Offloads offloads(PortId port) const noexcept {
    return port.value < queues_.size() ? queues_[port.value].offloads : Port::Offloads{};
  }

 private:
  static constexpr unsigned kCapacity = 64;
  struct Queue {
    Port* port = nullptr;  // nullptr: no such port, or no queue of ours in it
    Port::Offloads offloads;
    bool by_itself = false;  // Port::transmits_by_itself
    unsigned count = 0;
    std::array<rte_mbuf*, kCapacity> frames;
  };
  unsigned flush(Queue& queue) noexcept;

  uint16_t queue_index_;
  DropCounters& drops_;
  WorkerStats& stats_;         // stage transmit is ours
  std::vector<Queue> queues_;  // by PortId
  unsigned transmitted_ = 0;   // since the last flush()
};

}  // namespace sluice
