// A port whose wire is an array: hands out frames that were prepared beforehand and keeps what is transmitted until it
// is taken back. Nothing is copied, so that all that is measured is the worker's own. The bench prepares and takes; one
// worker receives, and each worker has its own transmit queue.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataplane/port/port.h"

namespace sluice::bench {

class MemoryPort final : public Port {
 public:
  struct Settings {
    Mac mac;
    uint16_t workers = 1;
    size_t frames = 256;  // room for so many, each way
    Offloads offloads;
  };
  MemoryPort(PortId id, std::string name, const Settings& settings);
  ~MemoryPort() override;  // frees what it holds; no worker runs any more

  // The bench's thread. All that was prepared before must have been received.
  void prepare(std::span<rte_mbuf* const> frames);  // from now on the port's
  size_t count_transmitted() const noexcept;
  std::vector<rte_mbuf*> transmitted() const;  // the first worker's, then the second's
  void free_transmitted();                     // no worker transmits now
  // When the frames came out, a stamp for each burst that a worker transmitted.
  struct Stamp {
    uint64_t tsc;
    size_t packets;  // since free_transmitted(), this burst included
  };
  std::span<const Stamp> stamps(uint16_t queue) const noexcept;

  // Workers.
  uint16_t receive_queues() const noexcept override { return 1; }
  uint16_t transmit_queues() const noexcept override { return settings_.workers; }
  uint16_t receive(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept override;
  uint16_t transmit(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept override;
  Wakeup wakeup(uint16_t) noexcept override { return {}; }
  void arm_interrupt(uint16_t, bool) noexcept override {}
  Mac mac() const noexcept override { return settings_.mac; }
  uint16_t mtu() const noexcept override { return 1500; }
  bool link_up() const noexcept override { return true; }
  PortCounters counters() const noexcept override { return {}; }
  std::string device() const override { return "memory"; }
  Offloads offloads() const noexcept override { return settings_.offloads; }

 private:
  struct alignas(64) Out {
    std::vector<rte_mbuf*> frames;
    std::vector<Stamp> stamps;
    std::atomic<size_t> count{0}, bursts{0};  // released by the worker after the above, acquired by the bench
  };
  Settings settings_;
  // A ring. Both numbers only grow: a worker that polls meanwhile never sees a frame twice.
  std::vector<rte_mbuf*> in_;
  std::atomic<size_t> ready_{0};             // released by the bench after the frames, acquired by the worker
  alignas(64) std::atomic<size_t> next_{0};  // the worker's; acquired by the bench
  std::vector<std::unique_ptr<Out>> out_;    // by transmit queue
};

}  // namespace sluice::bench
