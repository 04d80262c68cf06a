#include "tests/support/pipeline_bench.h"

#include <gtest/gtest.h>
#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_pause.h>
#include <rte_ring.h>

#include <cstring>

#include "dataplane/wire/ip.h"
#include "tests/support/forced_spread.h"

namespace sluice::test {
namespace {

PacketPool make_pool(uint32_t buffers) {
  static unsigned count = 0;
  return std::move(*make_packet_pool("bench-" + std::to_string(count++), buffers, kPacketMetaSize, 1500));
}

constexpr MonoTime kStart{1'000'000'000'000};
constexpr uint32_t kBuffers = 2047;
constexpr uint32_t kMaxHops = 256;  // reserved, so that the forwarding table's span stays where it is

Octets octets_of(rte_mbuf* m) {
  const auto bytes = bytes_of(m);
  return {bytes.begin(), bytes.end()};
}

Secret<32> key_from(Rng& rng) {
  Secret<32> key;
  rng.fill(key.bytes());
  return key;
}

std::array<std::byte, 18> link_header(const Mac& to, const Mac& from, uint16_t type) {
  std::array<std::byte, 18> bytes{};
  const EthernetHeader header{to.bytes, from.bytes, be16(type)};
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

// What control builds when it resolves an endpoint (dataplane/session/outer_route.h).
OuterRoute outer_route(const Endpoint& remote, const IpAddress& local) {
  OuterRoute route{.remote = remote, .local = local, .state = OuterRoute::State::kReady, .port = kWan, .mtu = 1500};
  const bool ipv4 = remote.address.is_ipv4();
  Octets frame = ipv4 ? PacketBuilder()
                            .udp(kListenPort, remote.port, {.length = 0, .checksum = 0})
                            .ipv4(to_string(local), to_string(remote.address), {.total_length = 0, .checksum = 0})
                            .ethernet(kRouterMac, kWanMac)
                            .build()
                      : PacketBuilder()
                            .udp(kListenPort, remote.port, {.length = 0, .checksum = 0})
                            .ipv6(to_string(local), to_string(remote.address), {.payload_length = 0})
                            .ethernet(kRouterMac, kWanMac)
                            .build();
  route.l3_offset = sizeof(EthernetHeader);
  if (ipv4) {
    reinterpret_cast<Ipv4Header*>(frame.data() + route.l3_offset)->id = 0;
    route.ipv4_sum = checksum_fold_to_16(checksum_add(ConstBytes(frame).subspan(route.l3_offset, sizeof(Ipv4Header))));
  }
  route.header_size = static_cast<uint8_t>(frame.size());
  std::memcpy(route.header.data(), frame.data(), frame.size());
  const be16 protocol(kProtocolUdp);
  uint32_t sum = checksum_add(std::as_bytes(std::span(local.bytes.data(), local.size())));
  sum = checksum_add(std::as_bytes(std::span(remote.address.bytes.data(), remote.address.size())), sum);
  sum = checksum_add(std::as_bytes(std::span(&protocol, 1)), sum);
  route.udp_sum = checksum_fold_to_16(checksum_add(ConstBytes(frame).last(sizeof(UdpHeader)), sum));
  return route;
}

}  // namespace

MemoryPort::~MemoryPort() {
  for (rte_mbuf* m : packets) rte_pktmbuf_free(m);
}

uint16_t MemoryPort::transmit(uint16_t, rte_mbuf** burst, uint16_t n) noexcept {
  for (const uint64_t began = rte_rdtsc(); rte_rdtsc() - began < cycles_per_call;) rte_pause();
  const unsigned taken = std::min({unsigned{n}, room, at_once});
  packets.insert(packets.end(), burst, burst + taken);
  room -= taken;
  return static_cast<uint16_t>(taken);
}

Octets RemoteSession::seal(uint64_t counter, const Octets& plaintext) const {
  return data_message(send_key, keypair->receiving.local_index, counter, plaintext);
}

std::optional<Octets> RemoteSession::open(std::span<const std::byte> message) const {
  return open_data_message(receive_key, message);
}

void PipelineBench::IndexRng::fill(std::span<std::byte> bytes) noexcept {
  random_.fill(bytes);
  if (!wanted || bytes.size() != sizeof *wanted) return;
  std::memcpy(bytes.data(), &*wanted, sizeof *wanted);
  wanted.reset();
}

// The fixed parts of one worker, in the order in which they may die.
struct PipelineBench::WorkerParts {
  WorkerParts(PipelineBench& bench, WorkerId id, std::string_view engine_name)
      : engine(make_engine(engine_name)),
        transmit(bench.port_pointers_, id, drops, stats),
        punts(bench.ports_.size(), *bench.mailboxes_[id.value], drops),
        staged({.peers = 8, .packets = 256}, drops),
        reassembly(256, drops),
        context{.id = id,
                .worker_count = static_cast<uint16_t>(bench.mailboxes_.size()),
                .now = kStart,
                .published = &bench.published_,
                .engine = engine.get(),
                .pool = bench.pool_.get(),
                .sessions = &bench.sessions_,
                .peers = &bench.peers_,
                .ports = bench.port_pointers_,
                .mailbox = bench.mailbox_pointers_[id.value],
                .mailboxes = bench.mailbox_pointers_,
                .staged = &staged,
                .reassembly = &reassembly,
                .transmit = &transmit,
                .punts = &punts,
                .drops = &drops,
                .stats = &stats,
                .outer_id = id.value} {}
  DropCounters drops;
  WorkerStats stats;
  std::unique_ptr<AeadEngine> engine;
  TransmitQueues transmit;
  PuntQueue punts;
  StagedPackets staged;
  Reassembly reassembly;
  WorkerContext context;
  std::optional<Spread> spread;
};

PipelineBench::PipelineBench(uint16_t workers, std::string_view engine)
    : pool_(make_pool(kBuffers)), sessions_(1024, rng_), peers_(64), board_(workers) {
  for (const PortId id : {kWan, kLan}) {
    ports_.push_back(std::make_unique<MemoryPort>(id, id == kWan ? "wan" : "lan", workers));
    port_pointers_.push_back(ports_.back().get());
  }
  for (uint8_t id = 0; id < workers; ++id) {
    mailboxes_.push_back(std::move(*Mailbox::create(WorkerId(id), {}, -1)));
    mailbox_pointers_.push_back(mailboxes_.back().get());
  }
  for (uint8_t id = 0; id < workers; ++id) {
    workers_.push_back(std::make_unique<WorkerParts>(*this, WorkerId(id), engine));
    if (const auto options = forced_spread()) spread_everything(*options, id);
  }
  published_.ports = {{kWan, kWanMac, 1500}, {kLan, kLanMac, 1500}};
  published_.tunnels = {{.id = kTunnel, .up = true, .listen_port = kListenPort}, {.id = kTunnelDown}};
  published_.add_listen_port(kListenPort);
  hops_.reserve(kMaxHops);
  for (const char* own :
       {"198.51.100.1/32", "2001:db8::1/128", "10.1.0.1/32", "fd01::1/128", "10.0.0.1/32", "fd00::1/128"})
    hop_to(own).action = NextHop::Action::kLocal;
  for (const char* lan : {"10.1.0.0/16", "fd01::/64"}) {
    NextHop& hop = hop_to(lan);
    hop = {.action = NextHop::Action::kPort, .l2_size = sizeof(EthernetHeader), .mtu = 1500, .port = kLan};
    hop.l2_header = link_header(kHostMac, kLanMac, lan[0] == '1' ? kEtherTypeIpv4 : kEtherTypeIpv6);
  }
  for (const char* behind : {"10.2.0.0/16", "fd02::/64", "10.0.0.0/24", "fd00::/64"}) {
    NextHop& hop = hop_to(behind);
    hop.action = NextHop::Action::kTunnel;
    hop.tunnel = kTunnel;
  }
  peer_ = &add_peer({"10.2.0.0/16", "fd02::/64", "10.0.0.2/32", "fd00::2/128"}, "198.51.100.2");
}

PipelineBench::~PipelineBench() {
  for (unsigned n = 0; n < workers_.size(); ++n) {
    punted(n);
    handshakes(n);
  }
  for (const auto& handoff : handoffs_) {
    void* m;
    while (rte_ring_dequeue(handoff->ring, &m) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(m));
    rte_ring_free(handoff->ring);
  }
  workers_.clear();
  ports_.clear();
  EXPECT_EQ(buffers_in_use(), 0u) << "packets were lost";
}

StagedPackets& PipelineBench::staged(unsigned n) noexcept { return workers_[n]->staged; }
Spread& PipelineBench::spread_everything(const Spread::Options& options, unsigned n) {
  WorkerParts& parts = *workers_[n];
  parts.context.spread = &parts.spread.emplace(board_, parts.context, options);
  parts.spread->end_poll({});
  return *parts.spread;
}

void PipelineBench::end_poll(unsigned n) {
  finish_spread(worker(n));
  workers_[n]->transmit.flush();
}

Mailbox& PipelineBench::mailbox(unsigned n) noexcept { return *mailboxes_[n]; }

// Tests change what is published as they like: what is derived from it is made anew before every call.
WorkerContext& PipelineBench::worker(unsigned n) {
  std::vector<Prefix> local;
  for (size_t i = 0; i < hops_.size(); ++i)
    if (hops_[i].action == NextHop::Action::kLocal) local.push_back(prefixes_[i]);
  local_ = std::make_unique<const LocalAddresses>(local);
  published_.fib = Fib(routes_.view(), hops_, *local_);
  WorkerContext& context = workers_[n]->context;
  context.recent_flows.forget();
  return context;
}

NextHop& PipelineBench::hop_to(std::string_view text) {
  const Prefix prefix = *parse_prefix(text);
  if (const auto known = routes_.exact(prefix)) return hops_[*known];
  EXPECT_LT(hops_.size(), kMaxHops);
  hops_.emplace_back();
  prefixes_.push_back(prefix);
  routes_.insert(prefix, static_cast<uint32_t>(hops_.size() - 1));
  return hops_.back();
}

Peer& PipelineBench::add_peer(const std::vector<std::string>& allowed_ips, std::string_view endpoint_address) {
  Peer& peer = *peers_.make();
  peer.tunnel = kTunnel;
  PeerRest& rest = peers_.rest_of(peer);
  rest.worker_count = static_cast<uint16_t>(workers_.size());
  if (workers_.size() > 1) {
    rest.handoff = std::make_unique<std::atomic<HandoffRing*>[]>(workers_.size());
    for (size_t w = 0; w < workers_.size(); ++w) {
      handoffs_.push_back(std::make_unique<HandoffRing>());
      const std::string name = "handoff-" + std::to_string(reinterpret_cast<uintptr_t>(handoffs_.back().get()));
      handoffs_.back()->ring = rte_ring_create(name.c_str(), 128, SOCKET_ID_ANY, RING_F_SC_DEQ | RING_F_EXACT_SZ);
      rest.handoff[w] = handoffs_.back().get();
    }
  }
  peers_.publish(peer);
  for (const std::string& prefix : allowed_ips) allowed_ips_.insert(*parse_prefix(prefix), peer.id.slot);
  published_.tunnels[kTunnel.value].allowed_ips = allowed_ips_.view();
  if (!endpoint_address.empty()) set_endpoint(peer, endpoint_address);
  return peer;
}

void PipelineBench::share(std::string_view prefix, const std::vector<const Peer*>& owners) {
  SharedOwners& shared = shared_owners_.emplace_back();
  for (const Peer* owner : owners) shared.slots.push_back(owner->id.slot);
  shared.latest = shared.slots.back();
  std::ranges::sort(shared.slots);
  allowed_ips_.insert(*parse_prefix(prefix), kSharedOwners + static_cast<uint32_t>(shared_owners_.size() - 1));
  published_.tunnels[kTunnel.value].allowed_ips = allowed_ips_.view();
  published_.tunnels[kTunnel.value].shared_owners = shared_owners_;
}

void PipelineBench::set_endpoint(Peer& peer, std::string_view address, uint16_t port) {
  const IpAddress remote = *parse_address(address);
  const IpAddress local = *parse_address(remote.is_ipv4() ? "198.51.100.1" : "2001:db8::1");
  auto route = std::make_unique<OuterRoute>(outer_route({remote, port}, local));
  peer.publish_outer(route.get());
  outers_[&peer] = std::move(route);
}

RemoteSession& PipelineBench::add_session(Peer& peer, SessionOptions options) {
  rng_.wanted = options.index;
  auto keypair = std::make_unique<Keypair>(sessions_.reserved(*sessions_.reserve_index()));
  keypair->receiving.peer = &peer;
  keypair->receiving.tunnel = peer.tunnel;
  keypair->sending->remote_index = 0xabcd0000 + static_cast<uint32_t>(keypairs_.size());
  keypair->set_birth(worker().now);
  keypair->sending->initiator = options.initiator;
  keypair->receiving.confirmed = keypair->receiving.last_minute_rekey = options.initiator;
  keypair->receiving.owner = options.owner;
  keypair->sending->secret = key_from(rng_);
  keypair->receiving.secret = key_from(rng_);
  auto remote = std::make_unique<RemoteSession>();
  remote->keypair = keypair.get();
  remote->send_key = keypair->receiving.secret.clone();
  remote->receive_key = keypair->sending->secret.clone();
  sessions_.publish(*keypair);
  if (options.current) peers_.begin_session(peer, keypair.get());
  keypairs_.push_back(std::move(keypair));
  remotes_.push_back(std::move(remote));
  return *remotes_.back();
}

void PipelineBench::advance(Nanoseconds by) {
  for (const auto& parts : workers_) parts->context.now = parts->context.now + by;
}

rte_mbuf* PipelineBench::to_mbuf(const Octets& bytes) {
  rte_mbuf* m = rte_pktmbuf_alloc(pool_.get());
  if (m == nullptr) throw std::runtime_error("packet pool exhausted");
  meta(m) = {.from = {.in_port = kNoPort, .tunnel = kNoTunnel}};
  char* room = rte_pktmbuf_append(m, static_cast<uint16_t>(bytes.size()));
  if (room == nullptr) {
    rte_pktmbuf_free(m);
    throw std::runtime_error("frame larger than a packet buffer");
  }
  if (!bytes.empty()) std::memcpy(room, bytes.data(), bytes.size());
  return m;
}

void PipelineBench::receive(const std::vector<Octets>& frames, PortId in, unsigned n) {
  for (size_t i = 0; i < frames.size();) {
    Burst burst;
    for (; i < frames.size() && burst.count < kBurst; ++i) burst.push(to_mbuf(frames[i]));
    process_frames(worker(n), in, burst);
    workers_[n]->transmit.flush();
  }
  end_poll(n);
}

Octets PipelineBench::datagram(const Octets& message) const {
  return PacketBuilder(message)
      .udp(51820, kListenPort)
      .ipv4("198.51.100.2", "198.51.100.1")
      .ethernet(kWanMac, kRouterMac)
      .pad_to(60);
}

Octets PipelineBench::datagram6(const Octets& message) const {
  return PacketBuilder(message)
      .udp(51820, kListenPort)
      .ipv6("2001:db8::2", "2001:db8::1")
      .ethernet(kWanMac, kRouterMac);
}

void PipelineBench::take_handed_off(unsigned n) {
  PeerId ids[64];
  const unsigned ready = mailbox(n).take_ready(ids, 64);
  for (unsigned i = 0; i < ready; ++i) {
    HandoffRing* handoff = peers_.rest_of(*peers_.find(ids[i])).handoff[n].load();
    handoff->scheduled.store(false);
    Burst burst;
    burst.count = rte_ring_sc_dequeue_burst(handoff->ring, reinterpret_cast<void**>(burst.packets), kBurst, nullptr);
    process_handed_off(worker(n), burst);
  }
  end_poll(n);
}

void PipelineBench::run(void (*command)(WorkerContext&, PeerId) noexcept, PeerId peer, unsigned n) {
  command(worker(n), peer);
  end_poll(n);
}

void PipelineBench::enter(void (*entry)(WorkerContext&, Burst&) noexcept, const std::vector<Octets>& packets,
                          TunnelId tunnel, unsigned n) {
  Burst burst;
  for (const Octets& packet : packets) {
    burst.push(to_mbuf(packet));
    meta(burst.packets[burst.count - 1]).from.tunnel = tunnel;
  }
  entry(worker(n), burst);
  end_poll(n);
}

std::vector<Octets> PipelineBench::transmitted(PortId id) {
  std::vector<Octets> frames;
  for (rte_mbuf* m : port(id).packets) frames.push_back(octets_of(m));
  release(id);
  return frames;
}

void PipelineBench::release(PortId id) {
  for (rte_mbuf* m : port(id).packets) rte_pktmbuf_free(m);
  port(id).packets.clear();
}

std::vector<Octets> PipelineBench::messages_to_peer() {
  std::vector<Octets> messages;
  for (const Octets& frame : transmitted(kWan)) {
    const bool ipv4 = version_of(ConstBytes(frame).subspan(sizeof(EthernetHeader))) == Family::kIpv4;
    const size_t headers =
        sizeof(EthernetHeader) + (ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header)) + sizeof(UdpHeader);
    messages.emplace_back(frame.begin() + static_cast<ptrdiff_t>(headers), frame.end());
  }
  return messages;
}

std::vector<Punted> PipelineBench::punted(unsigned n) {
  std::vector<Punted> all;
  rte_mbuf* packets[64];
  while (const unsigned count = mailbox(n).take_punts(packets, 64)) {
    for (rte_mbuf* m : std::span(packets, count)) {
      const PacketMeta& about = meta(m);
      all.push_back({about.punt, about.from.in_port, about.from.tunnel, about.mtu, about.l2_size, octets_of(m)});
      rte_pktmbuf_free(m);
    }
  }
  return all;
}

std::vector<Octets> PipelineBench::handshakes(unsigned n) {
  std::vector<Octets> all;
  rte_mbuf* packets[64];
  while (const unsigned count = mailbox(n).take_handshakes(packets, 64)) {
    for (rte_mbuf* m : std::span(packets, count)) {
      all.push_back(octets_of(m));
      rte_pktmbuf_free(m);
    }
  }
  return all;
}

std::vector<Event> PipelineBench::events(unsigned n) {
  std::vector<Event> all;
  Event events[64];
  while (const unsigned count = mailbox(n).take_events(events, 64)) {
    for (const Event& event : std::span(events, count)) {
      all.push_back(event);
      // What control does before it acts.
      if (Peer* peer = peers_.find(event.peer))
        peer->pending_events.fetch_and(static_cast<uint8_t>(~(1u << static_cast<unsigned>(event.kind))));
    }
  }
  return all;
}

std::map<std::string, uint64_t> PipelineBench::drops() {
  std::map<std::string, uint64_t> moved;
  for (size_t i = 0; i < kDropReasons; ++i) {
    uint64_t total = 0;
    for (const auto& parts : workers_) total += parts->drops.get(static_cast<Drop>(i));
    if (total != drops_seen_[i]) moved[std::string(drop_name(static_cast<Drop>(i)))] = total - drops_seen_[i];
    drops_seen_[i] = total;
  }
  return moved;
}

unsigned PipelineBench::buffers_in_use() const { return rte_mempool_in_use_count(pool_.get()); }

}  // namespace sluice::test
