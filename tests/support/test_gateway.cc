#include "tests/support/test_gateway.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <cstring>

#include "control/linux/outer_routes.h"
#include "dataplane/pipeline/packet.h"
#include "dataplane/wire/ip.h"
#include "tests/support/forced_spread.h"
#include "tests/support/steering_port.h"

namespace sluice::test {
namespace {

constexpr int kWan = 1, kLan = 2, kTunnel = 10;  // interface indices
constexpr uint16_t kListenPort = 51820;

IpAddress address(const std::string& text) { return *parse_address(text); }

PacketPool make_pool(const std::string& name) {
  static int serial = 0;
  auto pool = make_packet_pool(name + std::to_string(serial++), 4095, kPacketMetaSize, 1500);
  EXPECT_TRUE(pool) << pool.error().what;
  return std::move(*pool);
}

std::string unique(const std::string& name) {
  static int serial = 0;
  return name + std::to_string(serial++);
}

}  // namespace

Site Site::of(unsigned number, const std::string& name) {
  const auto n = static_cast<uint8_t>(number);
  return {number, name, Mac{{2, 0, 0, 0, n, 1}}, Mac{{2, 0, 0, 0, n, 2}}, Mac{{2, 0, 0, 0, n, 9}}};
}

IpAddress Site::wan(Family family) const {
  return address(family == Family::kIpv4 ? "198.51.100." + std::to_string(number)
                                         : "2001:db8:ffff::" + std::to_string(number));
}

IpAddress Site::host(Family family, unsigned host) const {
  const std::string n = std::to_string(number), h = std::to_string(host);
  return address(family == Family::kIpv4 ? "10." + n + ".0." + h : "2001:db8:" + n + "::" + h);
}

Prefix Site::lan_prefix(Family family) const { return Prefix::make(host(family), family == Family::kIpv4 ? 16 : 64); }

TestGateway::TestGateway(const Site& site, const Site& other, ManualClock& clock, uint64_t seed, const Options& options)
    : site_(site),
      clock_(clock),
      rng_(seed),
      owned_pool_(make_pool(site.name)),
      wan_wire_(unique(site.name + "w"), options.workers, owned_pool_.get()),
      lan_wire_(unique(site.name + "l"), options.workers, owned_pool_.get()) {
  pool_ = owned_pool_.get();
  EthdevOptions port;
  port.workers = options.workers;
  std::vector<std::unique_ptr<Port>> ports;
  port.name = "wan";
  port.mac = site.wan_mac;
  std::unique_ptr<Port> wan = wan_wire_.make_port(PortId{0}, port);
  ports.push_back(options.steers ? std::make_unique<SteeringPort>(std::move(wan)) : std::move(wan));
  port.name = "lan";
  port.mac = site.lan_mac;
  ports.push_back(lan_wire_.make_port(PortId{1}, port));

  Dataplane::Options wanted;
  wanted.worker_cores.assign(options.workers, 0);  // never launched: the test polls them
  wanted.engine = options.engine;
  wanted.spread = options.spread ? options.spread : forced_spread();
  wanted.max_peers = 4096;
  wanted.session_slots = 1u << 16;
  auto dataplane = Dataplane::create(wanted, std::move(owned_pool_), std::move(ports), clock, rng_);
  EXPECT_TRUE(dataplane) << dataplane.error().what;
  dataplane_ = std::move(*dataplane);

  describe_network(other);
  wireguard_ = std::make_unique<Wireguard>(
      Wireguard::Parts{*dataplane_, clock, rng_, *this, control_drops_, options.load_threshold});
  publisher_ = std::make_unique<Publisher>(*dataplane_, *wireguard_);
  tunnel_ = wireguard_->add_tunnel("wg0");
  EXPECT_TRUE(tunnel_->set_listen_port(kListenPort));
  tunnel_->set_up(true);
  network_changed();
  step();
}

TestGateway::~TestGateway() {
  publisher_.reset();
  wireguard_.reset();
}

void TestGateway::describe_network(const Site& other) {
  model_.put_link({kWan, "wan", true, 1500, site_.wan_mac});
  model_.put_link({kLan, "lan", true, 1500, site_.lan_mac});
  model_.put_link({kTunnel, "wg0", true, 1420, {}});
  own_.ports = {{kWan, PortId{0}}, {kLan, PortId{1}}};
  own_.tunnels = {{kTunnel, TunnelId{0}}};
  const auto route = [this](Prefix prefix, int interface, Route::Type type, Route::Table table) {
    Route r;
    r.prefix = prefix;
    r.type = type;
    r.table = table;
    RouteHop hop;
    hop.interface = interface;
    r.hops.push_back(hop);
    model_.put_route(r);
  };
  for (Family family : {Family::kIpv4, Family::kIpv6}) {
    const auto length = static_cast<uint8_t>(family == Family::kIpv4 ? 24 : 64);
    const auto lan_length = static_cast<uint8_t>(family == Family::kIpv4 ? 16 : 64);
    for (const auto& [interface, own, bits] :
         {std::tuple(kWan, site_.wan(family), length), std::tuple(kLan, site_.host(family, 1), lan_length)}) {
      model_.put_address({interface, {own, bits}, false, true});
      route(Prefix::host(own), interface, Route::Type::kLocal, Route::Table::kLocal);
      route(Prefix::make(own, bits), interface, Route::Type::kUnicast, Route::Table::kMain);
    }
    route(other.lan_prefix(family), kTunnel, Route::Type::kUnicast, Route::Table::kMain);
    model_.put_neighbour({other.wan(family), kWan}, {Neighbour::State::kPermanent, other.wan_mac});
    model_.put_neighbour({site_.host(family), kLan}, {Neighbour::State::kPermanent, site_.host_mac});
  }
}

void TestGateway::network_changed() {
  const ModelChanges changes = model_.take_changes();
  if (builder_.update(model_, own_, changes)) {
    auto garbage = std::make_shared<FibGarbage>(builder_.take_garbage());
    publisher_->set_fib(builder_.fib(), [garbage] {});
  }
  wireguard_->on_routes_changed();
}

OuterRoute TestGateway::resolve(const OuterQuery& query) {
  const OuterResolution resolution =
      resolve_outer(model_, own_, {query.remote, query.local, query.listen_port, query.mark});
  if (resolution.neighbour) neighbours_asked_for_.insert(*resolution.neighbour);
  return resolution.route;
}

OuterRoute TestGateway::look_up(const OuterQuery& query) const {
  return resolve_outer(model_, own_, {query.remote, query.local, query.listen_port, query.mark}).route;
}

void TestGateway::step() {
  for (const auto& worker : dataplane_->workers()) worker->poll_once();
  wireguard_->drain_handshakes();
  wireguard_->drain_events();
  drain_punts();
  wireguard_->run_timers();
  wireguard_->refresh_routes();
  wireguard_->post_waiting_commands();
  publisher_->publish_if_changed();
  dataplane_->collect();
}

void TestGateway::drain_punts() {
  for (uint8_t w = 0; w < dataplane_->worker_count(); ++w) {
    rte_mbuf* packet;
    while (dataplane_->mailbox(WorkerId{w}).take_punts(&packet, 1) == 1) {
      if (meta(packet).punt == PuntReason::kLocal)
        wireguard_->overhear(meta(packet), bytes_of(packet).subspan(meta(packet).l2_size));
      punts_.push_back(meta(packet).punt);
      rte_pktmbuf_free(packet);
    }
  }
}

bool TestGateway::host_sends(const Packet& ip_packet, uint16_t queue) {
  Packet frame(sizeof(EthernetHeader));
  auto& ethernet = *reinterpret_cast<EthernetHeader*>(frame.data());
  ethernet.destination = site_.lan_mac.bytes;
  ethernet.source = site_.host_mac.bytes;
  ethernet.ether_type = version_of(ip_packet) == Family::kIpv4 ? kEtherTypeIpv4 : kEtherTypeIpv6;
  frame.insert(frame.end(), ip_packet.begin(), ip_packet.end());
  return lan_wire_.send(frame, queue);
}

std::optional<Packet> TestGateway::host_receives() {
  for (uint16_t queue = 0; queue < dataplane_->worker_count(); ++queue)
    if (auto frame = lan_wire_.receive(queue)) return Packet(frame->begin() + sizeof(EthernetHeader), frame->end());
  return std::nullopt;
}

uint64_t TestGateway::all_drops() const {
  uint64_t sum = 0;
  for (size_t i = 0; i < kDropReasons; ++i) sum += drops(static_cast<Drop>(i));
  return sum;
}

std::vector<std::string> TestGateway::drop_names() const {
  std::vector<std::string> names;
  for (size_t i = 0; i < kDropReasons; ++i)
    if (drops(static_cast<Drop>(i)) != 0) names.emplace_back(drop_name(static_cast<Drop>(i)));
  return names;
}

unsigned TestGateway::packets_in_use() const { return rte_mempool_in_use_count(pool_); }

}  // namespace sluice::test
