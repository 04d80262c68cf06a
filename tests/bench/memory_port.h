// A port whose wire is an array: hands out frames that were prepared beforehand and keeps what is transmitted until it
// is taken back. Nothing is copied, so that all that is measured is the worker's own. One thread, or the two sides
// (prepare and take; receive and transmit) apart in time.
#pragma once

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
  ~MemoryPort() override;  // frees what it holds

  void prepare(std::span<rte_mbuf* const> frames);  // from now on the port's
  std::span<rte_mbuf*> transmitted() noexcept { return out_; }
  size_t waiting() const noexcept { return in_.size() - next_; }
  void free_transmitted();

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
  Settings settings_;
  std::vector<rte_mbuf*> in_, out_;  // their capacity is never exceeded
  size_t next_ = 0;                  // of in_
};

}  // namespace sluice::bench
