// A port whose device steers: does as another port, and takes down what it is asked. The test is the NIC: it asks
// arrival_queue() where a frame goes.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "dataplane/port/port.h"

namespace sluice::test {

class SteeringPort final : public Port {
 public:
  explicit SteeringPort(std::unique_ptr<Port> port) : Port(port->id(), port->name()), port_(std::move(port)) {}

  Steering::State answer = Steering::State::kOn;
  std::vector<uint16_t> listen_ports;  // as last asked

  // Of data with this receiver index; nothing: RSS decides.
  std::optional<uint16_t> arrival_queue(uint32_t index) const {
    if (steering().state != Steering::State::kOn) return std::nullopt;
    return queues_.queue_of(index);
  }

  void steer(const QueueByIndex& queues, std::span<const uint16_t> ports) override {
    queues_ = queues;
    listen_ports.assign(ports.begin(), ports.end());
  }
  Steering steering() const override { return {listen_ports.empty() ? Steering::State::kNone : answer, {}}; }

  uint16_t receive_queues() const noexcept override { return port_->receive_queues(); }
  uint16_t transmit_queues() const noexcept override { return port_->transmit_queues(); }
  uint16_t receive(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept override {
    return port_->receive(queue, packets, n);
  }
  uint16_t transmit(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept override {
    return port_->transmit(queue, packets, n);
  }
  Wakeup wakeup(uint16_t queue) noexcept override { return port_->wakeup(queue); }
  void arm_interrupt(uint16_t queue, bool on) noexcept override { port_->arm_interrupt(queue, on); }
  Mac mac() const noexcept override { return port_->mac(); }
  uint16_t mtu() const noexcept override { return port_->mtu(); }
  bool link_up() const noexcept override { return port_->link_up(); }
  PortCounters counters() const noexcept override { return port_->counters(); }
  std::string device() const override { return port_->device(); }
  Offloads offloads() const noexcept override { return port_->offloads(); }

 private:
  std::unique_ptr<Port> port_;
  QueueByIndex queues_;
};

}  // namespace sluice::test
