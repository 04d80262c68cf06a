// `memory`: what a configured peer and a session take, control and data plane together, and how long it takes to load
// 100,000 peers and to change one of them. Heap in use is counted, with what the allocator adds to it; the bench's own
// keys and texts are outside of what is compared.
#include <fmt/format.h>
#include <malloc.h>
#include <rte_malloc.h>

#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "config/diff.h"
#include "config/load.h"
#include "control/api/uapi.h"
#include "dataplane/crypto/select.h"
#include "dataplane/session/slab.h"
#include "tests/bench/bench.h"
#include "tests/bench/machine.h"
#include "tests/bench/remote_peer.h"
#include "tests/bench/samples.h"
#include "tests/support/seeded_rng.h"

namespace sluice::bench {
namespace {

constexpr double kKib = 1024;

// Bytes in use: the process's heap, peers, the slabs' objects, and DPDK's heap (rings between workers).
double footprint(Dataplane& dataplane) {
  const auto heap = mallinfo2();
  rte_malloc_socket_stats dpdk{};
  rte_malloc_get_socket_stats(0, &dpdk);
  return static_cast<double>(heap.uordblks + heap.hblkhd + dataplane.peers().bytes_in_use() +
                             dataplane.sessions().bytes_in_use() + Slab::bytes_in_use() + dpdk.heap_allocsz_bytes);
}

// A gateway's configuration with that many peers, each a single host. One more allowed IP for the last one if asked.
enum class Variant { kPlain, kOneChanged };
std::string configuration(uint32_t peers, Variant variant) {
  test::SeededRng rng;
  PublicKey key;
  rng.fill(key.bytes);
  std::string text = fmt::format(R"(port = [{{ name = "wan", device = "null", addresses = ["198.51.100.1/24"] }}]
[[tunnel]]
name = "wg0"
private-key = "{}"
listen-port = {}
routes = "off"
)",
                                 to_base64(key.bytes), kListenPort);
  for (uint32_t n = 0; n < peers; ++n) {
    rng.fill(key.bytes);
    const bool changed = variant == Variant::kOneChanged && n + 1 == peers;
    fmt::format_to(std::back_inserter(text),
                   "[[tunnel.peer]]\npublic-key = \"{}\"\nendpoint = \"{}\"\nallowed-ips = [\"{}/32\"{}]\n",
                   to_base64(key.bytes), to_string(Gateway::endpoint_of(n)), to_string(Gateway::inner_address_of(n)),
                   changed ? ", \"10.3.0.0/24\"" : "");
  }
  return text;
}

std::shared_ptr<const config::Model> load(const std::string& text) {
  config::Loaded loaded = config::load_text(text, "bench.toml", {Machine::worker_cores()});
  if (!loaded.model) throw std::runtime_error(config::to_string(loaded.errors.front()));
  return loaded.model;
}

// What the configurator does for a peer, Linux apart.
void apply(Tunnel& tunnel, const config::Peer& wanted) {
  PeerControl* peer = tunnel.add_peer(wanted.public_key);
  if (peer == nullptr) throw std::runtime_error("no room for another peer");
  peer->name = wanted.name;
  tunnel.set_preshared_key(*peer, wanted.preshared_key.clone());
  for (const Prefix& prefix : wanted.allowed_ips) tunnel.add_allowed_ip(*peer, prefix);
  tunnel.set_persistent_keepalive(*peer, wanted.persistent_keepalive);
  tunnel.set_endpoint(*peer, {parse_address(wanted.endpoint->host).value(), wanted.endpoint->port});
  tunnel.apply_peer(*peer);
}

// One setting of one peer as `wg set` sends it, until workers see it.
void change_by_socket(Gateway& gateway, const PublicKey& key, unsigned turn) {
  UapiSession session(gateway.tunnel());
  std::string reply;
  const std::string request =
      fmt::format("set=1\npublic_key={}\nupdate_only=true\nallowed_ip=10.4.{}.0/24\n\n", to_hex(key.bytes), turn % 256);
  if (!session.feed(request, reply) || reply != "errno=0\n\n") throw std::runtime_error("the socket refused: " + reply);
  gateway.control_turn();
}

struct Loading {
  Samples read_ms, apply_ms, change_ms, reload_ms;
  double idle_bytes = 0, model_bytes = 0;
};

// From nothing: what an earlier one has left is given back to the system before.
void load_once(Loading& result, uint32_t peers, const Options& options) {
  malloc_trim(0);
  Gateway gateway({.cores = Machine::worker_cores(), .engine = options.engine});
  const std::string text = configuration(peers, Variant::kPlain), changed = configuration(peers, Variant::kOneChanged);
  const double before = footprint(gateway.dataplane());
  std::shared_ptr<const config::Model> model;
  result.read_ms.add(cpu_time_ns([&] { model = load(text); }) / 1e6);
  const double with_model = footprint(gateway.dataplane());
  result.apply_ms.add(cpu_time_ns([&] {
                        for (const config::Peer& peer : model->tunnels[0].peers) apply(gateway.tunnel(), peer);
                        gateway.control_turn();
                      }) /
                      1e6);
  gateway.settle();
  result.idle_bytes = (footprint(gateway.dataplane()) - before) / peers;
  result.model_bytes = (with_model - before) / peers;

  for (unsigned i = 0; i < 20; ++i) {
    const PublicKey& key = model->tunnels[0].peers[i * 37 % peers].public_key;
    result.change_ms.add(time_ns([&] { change_by_socket(gateway, key, i); }) / 1e6);
    gateway.settle();
  }
  result.reload_ms.add(cpu_time_ns([&] {
                         const auto wanted = load(changed);
                         const config::Delta delta = config::diff(*model, *wanted);
                         if (delta.tunnels.size() != 1) throw std::runtime_error("the reload found no change");
                       }) /
                       1e6);
}

Loading measure_loading(uint32_t peers, const Options& options) {
  Loading result;
  for (int i = 0; i < (options.quick ? 1 : 3); ++i) load_once(result, peers, options);
  return result;
}

// Heap bytes that a session adds to a peer: the first one, and in the long run, when the one before is kept beside it.
struct SessionBytes {
  double first = 0, rekeyed = 0;
};

void shake_hands(Gateway& gateway, RemotePeer& peer) {
  const auto poll = [&](rte_mbuf* frame) {
    gateway.wan().prepare({&frame, 1});
    gateway.settle();
  };
  poll(peer.initiate());
  const auto responses = gateway.wan().transmitted();
  if (responses.size() != 1) throw std::runtime_error("an initiation without answer: " + gateway.new_drops());
  peer.finish(responses[0]);
  gateway.wan().free_transmitted();
  poll(peer.confirm());
  gateway.wan().free_transmitted();
}

SessionBytes measure_sessions(size_t count, const Options& options) {
  Gateway gateway({.cores = Machine::worker_cores(), .engine = options.engine});
  test::SeededRng rng;
  std::vector<std::unique_ptr<RemotePeer>> peers;
  for (uint32_t n = 0; n < count; ++n) peers.push_back(std::make_unique<RemotePeer>(gateway, n, rng));
  gateway.settle();
  const double before = footprint(gateway.dataplane());
  SessionBytes bytes;
  for (double* result : {&bytes.first, &bytes.rekeyed}) {
    for (const auto& peer : peers) shake_hands(gateway, *peer);
    gateway.settle();
    *result = (footprint(gateway.dataplane()) - before) / static_cast<double>(count);
  }
  return bytes;
}

}  // namespace

Outcome measure_memory(const Options& options) {
  const uint32_t peers = options.quick ? 1000 : 100'000;
  const Loading loading = measure_loading(peers, options);
  const SessionBytes session = measure_sessions(options.quick ? 200 : 2000, options);

  Outcome outcome;
  outcome.about = {{"engine", std::string(fastest_engine(engine_speeds()))},
                   {"workers", std::to_string(Machine::worker_cores().size())}};
  outcome.tables.push_back({"memory of a peer, control and data plane",
                            {"peer", "bytes"},
                            {{"idle: all of it", loading.idle_bytes},
                             {"idle: of it the configuration file's model", loading.model_bytes},
                             {"a first session on top", session.first},
                             {"sessions on top after a rekey", session.rekeyed},
                             {"with sessions: all of it", loading.idle_bytes + session.rekeyed}}});
  const double load_ms = loading.read_ms.min() + loading.apply_ms.min();
  outcome.tables.push_back(
      {fmt::format("loading {} peers, and changing one of them, milliseconds of CPU time", peers),
       {"what", "min_ms", "median_ms"},
       {{"read and check the file", loading.read_ms.min(), loading.read_ms.median()},
        {"apply and publish it", loading.apply_ms.min(), loading.apply_ms.median()},
        {"change one by the socket", loading.change_ms.min(), loading.change_ms.median()},
        {"read the file again and find one change", loading.reload_ms.min(), loading.reload_ms.median()}}});
  outcome.goals = {
      {"memory of an idle peer, KiB", loading.idle_bytes / kKib, Bound::kAtMost, 1},
      {"memory of a peer with sessions, KiB", (loading.idle_bytes + session.rekeyed) / kKib, Bound::kAtMost, 6},
      {"load 100,000 peers, s", load_ms / 1e3, Bound::kAtMost, 1},
      {"change one of 100,000 peers, ms", loading.change_ms.median(), Bound::kAtMost, 5}};
  return outcome;
}

}  // namespace sluice::bench
