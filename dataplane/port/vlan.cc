#include "dataplane/port/vlan.h"

#include <rte_mbuf.h>

#include <vector>

#include "dataplane/port/port_counters.h"

namespace sluice {
namespace {

class VlanPort final : public Port {
 public:
  VlanPort(PortId id, const VlanOptions& options, Port& parent)
      : Port(id, options.name, options.vlan, parent.id()),
        parent_(parent),
        mtu_(options.mtu),
        counters_(options.workers) {}

  uint16_t receive_queues() const noexcept override { return 0; }
  uint16_t transmit_queues() const noexcept override { return parent_.transmit_queues(); }
  uint16_t receive(uint16_t, rte_mbuf**, uint16_t) noexcept override { return 0; }

  // A queue's worker is the one writer of the counters of the same number.
  uint16_t transmit(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept override {
    uint64_t bytes = 0;
    for (uint16_t i = 0; i < n; ++i) bytes += rte_pktmbuf_pkt_len(packets[i]);  // those that are sent are not ours then
    const uint16_t sent = parent_.transmit(queue, packets, n);
    for (uint16_t i = sent; i < n; ++i) bytes -= rte_pktmbuf_pkt_len(packets[i]);
    LivePortCounters& counters = counters_[queue];
    LivePortCounters::add(counters.tx_packets, sent);
    LivePortCounters::add(counters.tx_bytes, bytes);
    return sent;
  }

  Wakeup wakeup(uint16_t) noexcept override { return {}; }
  void arm_interrupt(uint16_t, bool) noexcept override {}
  Mac mac() const noexcept override { return parent_.mac(); }
  uint16_t mtu() const noexcept override { return mtu_; }
  bool link_up() const noexcept override { return parent_.link_up(); }
  PortCounters counters() const noexcept override {
    PortCounters sum;
    for (const LivePortCounters& one : counters_) sum += one.read();
    return sum;
  }
  LivePortCounters* arrivals() noexcept override { return counters_.data(); }
  std::string device() const override { return "vlan " + std::to_string(vlan()) + " of " + parent_.name(); }
  Offloads offloads() const noexcept override { return parent_.offloads(); }

 private:
  Port& parent_;
  uint16_t mtu_;
  std::vector<LivePortCounters> counters_;  // by worker
};

}  // namespace

std::unique_ptr<Port> make_vlan_port(PortId id, const VlanOptions& options, Port& parent) {
  return std::make_unique<VlanPort>(id, options, parent);
}

}  // namespace sluice
