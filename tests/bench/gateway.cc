#include "tests/bench/gateway.h"

#include <stdexcept>

#include "control/linux/outer_routes.h"
#include "dataplane/crypto/primitives.h"
#include "dataplane/pipeline/packet.h"
#include "tests/bench/frames.h"

namespace sluice::bench {
namespace {

constexpr int kWanInterface = 1, kLanInterface = 2, kTunnelInterface = 10;
constexpr uint32_t kHostPeers = 0x0a800000;      // 10.128.0.0
constexpr uint32_t kPeerEndpoints = 0x64400000;  // 100.64.0.0

template <class T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().what);
  return std::move(*result);
}

PacketPool make_pool(uint32_t buffers) {
  static unsigned serial = 0;
  return value_of(make_packet_pool("bench" + std::to_string(serial++), buffers, kPacketMetaSize, 1500));
}

IpAddress router() { return ipv4(0xc63364fe); }  // 198.51.100.254

PublicKey random_key(Rng& rng) {
  PublicKey key;
  rng.fill(key.bytes);
  return key;
}

}  // namespace

// Spread over the networks as hosts are: neighbours in number, not all in one line of a table.
IpAddress lan_host(unsigned n) { return ipv4(0x0a010000 + 2 + n * 251); }
IpAddress site_host(unsigned n) { return ipv4(0x0a020000 + 2 + n * 509); }
IpAddress wan_address() { return ipv4(0xc6336401); }  // 198.51.100.1

Gateway::Gateway(const Settings& settings) {
  const auto workers = static_cast<uint16_t>(settings.cores.size());
  PacketPool pool = make_pool(settings.buffers);
  MemoryPort::Settings port{.mac = kWanMac, .workers = workers, .frames = settings.port_frames};
  if (settings.offloads) port.offloads = {true, true, true, true};
  auto wan = std::make_unique<MemoryPort>(PortId{0}, "wan", port);
  port.mac = kLanMac;
  auto lan = std::make_unique<MemoryPort>(PortId{1}, "lan", port);
  wan_ = wan.get();
  lan_ = lan.get();
  std::vector<std::unique_ptr<Port>> ports;
  ports.push_back(std::move(wan));
  ports.push_back(std::move(lan));

  Dataplane::Options options;
  if (settings.cores.size() > 1) options.spread.emplace();  // as shipped
  options.worker_cores = settings.cores;
  options.idle = IdlePolicy::kPoll;
  options.engine = settings.engine;
  if (settings.stages) options.timed_polls = 1;
  dataplane_ = value_of(Dataplane::create(std::move(options), std::move(pool), std::move(ports), clock_, rng_));
  describe_network();
  wireguard_ = std::make_unique<Wireguard>(
      Wireguard::Parts{*dataplane_, clock_, rng_, *this, control_drops_, settings.load_threshold});
  publisher_ = std::make_unique<Publisher>(*dataplane_, *wireguard_);
  tunnel_ = wireguard_->add_tunnel("wg0");
  if (Result<void> done = tunnel_->set_listen_port(kListenPort); !done) throw std::runtime_error(done.error().what);
  tunnel_->set_private_key(generate_private_key(rng_));
  tunnel_->set_up(true);
  builder_.update(model_, own_, model_.take_changes());
  publisher_->set_fib(builder_.fib(), {});
  control_turn();
}

Gateway::~Gateway() {
  dataplane_->stop();
  publisher_.reset();
  wireguard_.reset();
}

void Gateway::describe_network() {
  model_.put_link({kWanInterface, "wan", true, 1500, kWanMac});
  model_.put_link({kLanInterface, "lan", true, 1500, kLanMac});
  model_.put_link({kTunnelInterface, "wg0", true, 1420, {}});
  own_.ports = {{kWanInterface, PortId{0}}, {kLanInterface, PortId{1}}};
  own_.tunnels = {{kTunnelInterface, TunnelId{0}}};
  const auto route = [this](const Prefix& prefix, int interface, Route::Type type, const IpAddress& gateway = {}) {
    Route r;
    r.prefix = prefix;
    r.type = type;
    r.table = type == Route::Type::kUnicast ? Route::Table::kMain : Route::Table::kLocal;
    r.hops.push_back({interface, gateway});
    model_.put_route(r);
  };
  const auto interface = [&](int index, const IpAddress& own, uint8_t length) {
    model_.put_address({index, {own, length}, false, true});
    route(Prefix::host(own), index, Route::Type::kLocal);
    route(Prefix::make(own, length), index, Route::Type::kUnicast);
  };
  interface(kWanInterface, wan_address(), 24);
  interface(kLanInterface, ipv4(0x0a010001), 16);
  route(Prefix::make(ipv4(0), 0), kWanInterface, Route::Type::kUnicast, router());
  route(Prefix::make(site_host(0), 16), kTunnelInterface, Route::Type::kUnicast);
  route(Prefix::make(inner_address_of(0), 9), kTunnelInterface, Route::Type::kUnicast);
  model_.put_neighbour({router(), kWanInterface}, {Neighbour::State::kPermanent, kRouterMac});
  for (unsigned n = 0; n < kLanHosts; ++n)
    model_.put_neighbour({lan_host(n), kLanInterface}, {Neighbour::State::kPermanent, kHostMac});
}

IpAddress Gateway::inner_address_of(uint32_t number) { return ipv4(kHostPeers + number); }

Endpoint Gateway::endpoint_of(uint32_t number) { return {ipv4(kPeerEndpoints + number), kListenPort}; }

PeerControl& Gateway::add_peer(const PublicKey& key, const Prefix& allowed, const Endpoint& endpoint) {
  PeerControl* peer = tunnel_->add_peer(key);
  if (peer == nullptr) throw std::runtime_error("no room for another peer");
  tunnel_->add_allowed_ip(*peer, allowed);
  tunnel_->set_endpoint(*peer, endpoint);
  tunnel_->apply_peer(*peer);
  return *peer;
}

PeerControl& Gateway::add_site_peer() {
  return add_peer(random_key(rng_), Prefix::make(site_host(0), 16), {ipv4(0xcb007102), kListenPort});
}

PeerControl& Gateway::add_host_peer(uint32_t number) {
  return add_peer(random_key(rng_), Prefix::host(inner_address_of(number)), endpoint_of(number));
}

Session Gateway::open_session(PeerControl& peer) {
  Contact& contact = wireguard_->contact(peer);
  SessionTable& sessions = dataplane_->sessions();
  if (contact.current) {
    const uint32_t index = contact.current->receiving.local_index;
    sessions.withdraw(index);
    contact.current.reset();
    sessions.release_index(index);
  }
  auto keypair = std::make_unique<Keypair>(sessions.reserved(sessions.reserve_index().value()));
  keypair->receiving.peer = peer.shared;
  keypair->receiving.tunnel = keypair->receiving.peer->tunnel;
  keypair->sending->remote_index = rng_.next_u32();
  keypair->set_birth(clock_.now());
  keypair->receiving.confirmed = true;
  keypair->receiving.owner = WorkerId{0};
  rng_.fill(keypair->sending->secret.bytes());
  rng_.fill(keypair->receiving.secret.bytes());
  Session session{.send_key = keypair->receiving.secret.clone(),
                  .receive_key = keypair->sending->secret.clone(),
                  .index = keypair->receiving.local_index,
                  .remote_index = keypair->sending->remote_index,
                  .endpoint = peer.at.remote,
                  .keypair = keypair.get()};
  sessions.publish(*keypair);
  dataplane_->peers().begin_session(*peer.shared, keypair.get());
  contact.current = std::move(keypair);
  contact.timers.session_derived(clock_.now());
  contact.timers.handshake_complete();
  return session;
}

void Gateway::control_turn() {
  while (wireguard_->drain_handshakes()) {
  }
  while (wireguard_->drain_events()) {
  }
  wireguard_->post_waiting_commands();
  publisher_->publish_if_changed();
  dataplane_->collect();
}

void Gateway::renew(Session& session) { session.keypair->set_birth(clock_.now()); }

void Gateway::settle() {
  unsigned handled;
  do {
    control_turn();
    handled = 0;
    for (const auto& worker : dataplane_->workers()) handled += worker->poll_once();
  } while (handled != 0);
}

std::string Gateway::new_drops() {
  std::string text;
  for (size_t i = 0; i < kDropReasons; ++i) {
    const auto reason = static_cast<Drop>(i);
    const uint64_t all = dataplane_->drops(reason) + control_drops_.get(reason);
    if (all != drops_seen_[i])
      text += (text.empty() ? "" : ", ") + std::string(drop_name(reason)) + " " + std::to_string(all - drops_seen_[i]);
    drops_seen_[i] = all;
  }
  return text;
}

OuterRoute Gateway::resolve(const OuterQuery& query) { return look_up(query); }

OuterRoute Gateway::look_up(const OuterQuery& query) const {
  return resolve_outer(model_, own_, {query.remote, query.local, query.listen_port, query.mark}).route;
}

}  // namespace sluice::bench
