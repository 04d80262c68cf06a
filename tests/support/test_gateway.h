// A whole gateway in a test's hand: real ports over ring wires, real workers, real control, stepped by the test instead
// of running in threads. What Linux would say is a literal model. Two of them and a Link make a network
// (gateway_pair.h).
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "control/gateway/publisher.h"
#include "control/linux/fib_builder.h"
#include "control/linux/network_model.h"
#include "control/wg/wireguard.h"
#include "dataplane/pipeline/packet.h"
#include "dataplane/worker/dataplane.h"
#include "tests/support/eal_fixture.h"
#include "tests/support/manual_clock.h"
#include "tests/support/seeded_rng.h"

namespace sluice::test {

using Packet = std::vector<std::byte>;

// Site n: WAN 198.51.100.n/24 and 2001:db8:ffff::n/64, LAN 10.n.0.1/16 and 2001:db8:n::1/64 with hosts behind it.
struct Site {
  unsigned number;
  std::string name;
  Mac wan_mac, lan_mac, host_mac;

  static Site of(unsigned number, const std::string& name);
  IpAddress wan(Family family) const;
  IpAddress host(Family family, unsigned host = 2) const;
  Prefix lan_prefix(Family family) const;
};

class TestGateway final : public OuterRoutes {
 public:
  struct Options {
    uint16_t workers = 1;
    bool steers = false;  // its WAN port is a SteeringPort
    std::string engine;
    std::optional<Spread::Options> spread;
    size_t load_threshold = LoadMonitor::kDefaultThreshold;
  };
  TestGateway(const Site& site, const Site& other, ManualClock& clock, uint64_t seed, const Options& options);
  ~TestGateway() override;

  Tunnel& tunnel() { return *tunnel_; }
  Wireguard& wireguard() { return *wireguard_; }
  Dataplane& dataplane() { return *dataplane_; }
  RingWire& wan() { return wan_wire_; }
  const Site& site() const { return site_; }

  // All workers once, then one turn of control.
  void step();
  // Why packets were handed to control (for Linux, or for an ICMP error), so far. They are freed.
  const std::vector<PuntReason>& punts() const { return punts_; }

  // The host behind the gateway. An IP packet in, IP packets out.
  bool host_sends(const Packet& ip_packet, uint16_t queue = 0);
  std::optional<Packet> host_receives();

  NetworkModel& network() { return model_; }
  void network_changed();  // after a change of the model: new table, endpoints resolved again

  uint64_t drops(Drop reason) const { return dataplane_->drops(reason) + control_drops_.get(reason); }
  uint64_t all_drops() const;
  std::vector<std::string> drop_names() const;  // of the reasons that moved
  unsigned packets_in_use() const;              // mbufs that are neither in the pool nor on a wire

  OuterRoute resolve(const OuterQuery& query) override;
  uint32_t scope_of(PortId) const noexcept override { return 0; }
  Result<void> claim_port(TunnelId, uint16_t) override { return {}; }
  OuterRoute look_up(const OuterQuery& query) const override;
  const std::set<NeighbourKey>& neighbours_asked_for() const { return neighbours_asked_for_; }

 private:
  void describe_network(const Site& other);
  void drain_punts();

  Site site_;
  ManualClock& clock_;
  SeededRng rng_;
  rte_mempool* pool_ = nullptr;
  DropCounters control_drops_;
  NetworkModel model_;
  OwnInterfaces own_;
  std::set<NeighbourKey> neighbours_asked_for_;
  std::vector<PuntReason> punts_;
  FibBuilder builder_;
  PacketPool owned_pool_;
  RingWire wan_wire_, lan_wire_;
  std::unique_ptr<Dataplane> dataplane_;
  std::unique_ptr<Wireguard> wireguard_;
  std::unique_ptr<Publisher> publisher_;
  Tunnel* tunnel_ = nullptr;
};

}  // namespace sluice::test
