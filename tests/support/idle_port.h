// A port on which nothing ever arrives, and which takes nothing: what fake ports are made of.
#pragma once

#include <string>
#include <utility>

#include "dataplane/port/port.h"

namespace sluice::test {

class IdlePort : public Port {
 public:
  IdlePort(PortId id, std::string name, uint16_t queues, PortId parent = kNoPort)
      : Port(id, std::move(name), 0, parent), queues_(queues) {}

  uint16_t receive_queues() const noexcept override { return queues_; }
  uint16_t transmit_queues() const noexcept override { return queues_; }
  uint16_t receive(uint16_t, rte_mbuf**, uint16_t) noexcept override { return 0; }
  uint16_t transmit(uint16_t, rte_mbuf**, uint16_t) noexcept override { return 0; }
  Wakeup wakeup(uint16_t) noexcept override { return {}; }
  void arm_interrupt(uint16_t, bool) noexcept override {}
  Mac mac() const noexcept override { return {}; }
  uint16_t mtu() const noexcept override { return 1500; }
  bool link_up() const noexcept override { return true; }
  PortCounters counters() const noexcept override { return {}; }
  std::string device() const override { return "fake"; }
  Offloads offloads() const noexcept override { return {}; }

 private:
  uint16_t queues_;
};

}  // namespace sluice::test
