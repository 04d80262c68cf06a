// Frames on their way out of this worker: collected per port during a poll, handed to the port in bursts. One worker's
// thread only.
#pragma once

#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <memory>
#include <span>

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

  // Complete frames. Drops: port_gone, transmit_full.
  void push(PortId port, rte_mbuf* frame) noexcept {
    if (!exists(port)) [[unlikely]]
      return drop(frame);
    add(queues_[port.value], {&frame, 1});
  }
  void push(PortId port, std::span<rte_mbuf* const> frames) noexcept {
    if (!exists(port)) [[unlikely]] {
      for (rte_mbuf* frame : frames) drop(frame);
      return;
    }
    Queue& queue = queues_[port.value];
    while (!frames.empty()) {
      const size_t n = std::min<size_t>(frames.size(), kCapacity - queue.count);
      add(queue, frames.first(n));
      frames = frames.subspan(n);
    }
  }
  // Hands everything to the ports and returns how many packets they took. What a port does not take after a few
  // attempts is dropped.
  unsigned flush() noexcept;

  // From now on its frames are dropped as port_gone.
  void forget(PortId port) noexcept;

  // What the port's hardware does; nothing for a port that does not exist.
  Port::Offloads offloads(PortId port) const noexcept {
    return port.value < ports_ ? queues_[port.value].offloads : Port::Offloads{};
  }

 private:
  static constexpr unsigned kCapacity = 64;
  // What the mbuf says of the packet it was received as means nothing on the way out.
  static constexpr uint64_t kKeptFlags = RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_TX_OFFLOAD_MASK;
  struct alignas(64) Queue {
    Port* port = nullptr;  // nullptr: no such port, or no queue of ours in it
    Port::Offloads offloads;
    bool by_itself = false;  // Port::transmits_by_itself
    unsigned count = 0;
    std::array<rte_mbuf*, kCapacity> frames;
  };

  bool exists(PortId port) const noexcept { return port.value < ports_ && queues_[port.value].port != nullptr; }
  void add(Queue& queue, std::span<rte_mbuf* const> frames) noexcept {  // there is room
    rte_mbuf** to = queue.frames.data() + queue.count;
    for (rte_mbuf* frame : frames) {
      frame->ol_flags &= kKeptFlags;
      *to++ = frame;
    }
    queue.count += static_cast<unsigned>(frames.size());
    if (queue.count == kCapacity) transmitted_ += flush(queue);
  }
  unsigned flush(Queue& queue) noexcept;
  void drop(rte_mbuf* frame) noexcept;

  uint16_t queue_index_;
  DropCounters& drops_;
  WorkerStats& stats_;  // stage transmit is ours
  const size_t ports_;
  const std::unique_ptr<Queue[]> queues_;  // [ports_], by PortId
  unsigned transmitted_ = 0;               // since the last flush()
};

}  // namespace sluice
