// `handshake`: initiations answered, from the frame received to the response transmitted, worker and control on one
// core, against four X25519 operations of the library: so many an answer takes. A peer's first one takes a fifth, whose
// result is kept.
#include <memory>
#include <stdexcept>
#include <vector>

#include "dataplane/crypto/primitives.h"
#include "tests/bench/bench.h"
#include "tests/bench/far_side.h"
#include "tests/bench/remote_peer.h"
#include "tests/bench/samples.h"
#include "tests/support/seeded_rng.h"

namespace sluice::bench {
namespace {

constexpr size_t kBatch = 1;          // short, so that a core's other users spoil some and not all
constexpr size_t kRemotePeers = 512;  // so many that a peer's next turn comes later than 20 ms after its last

using RemotePeers = std::vector<std::unique_ptr<RemotePeer>>;

enum class Static { kKnown, kNew };  // whether control has computed the peers' static secrets before

// Nanoseconds a handshake.
double answer(Gateway& gateway, std::span<const std::unique_ptr<RemotePeer>> peers, Static secrets) {
  std::vector<rte_mbuf*> frames;
  for (const auto& peer : peers) {
    Contact* contact = peer->at_gateway().contact.get();
    if (secrets == Static::kNew && contact != nullptr) contact->remote.reset();
    frames.push_back(peer->initiate());
  }
  gateway.wan().prepare(frames);
  const double time = time_ns([&] {
    gateway.worker().poll_once();
    gateway.control_turn();
    gateway.worker().poll_once();
  });
  const auto responses = gateway.wan().transmitted();
  if (responses.size() != peers.size()) throw std::runtime_error("initiations without answer: " + gateway.new_drops());
  for (size_t i = 0; i < peers.size(); ++i) peers[i]->finish(responses[i]);
  gateway.wan().free_transmitted();
  return time / static_cast<double>(peers.size());
}

double four_x25519(Rng& rng) {
  const PrivateKey own = generate_private_key(rng);
  PublicKey theirs = public_key_of(generate_private_key(rng));
  Secret<32> shared;
  return time_ns([&] {
    for (int i = 0; i < 4; ++i) {
      if (!x25519(own, theirs, shared)) throw std::runtime_error("X25519 fails");
      theirs.bytes[0] = shared.bytes()[0];
    }
  });
}

}  // namespace

Outcome measure_handshake(const Options& options) {
  Gateway gateway({.engine = options.engine});
  test::SeededRng rng;
  RemotePeers peers;
  for (uint32_t n = 0; n < (options.quick ? kRemotePeers / 8 : kRemotePeers); ++n)
    peers.push_back(std::make_unique<RemotePeer>(gateway, n, rng));
  gateway.settle();

  Samples known, first, yardstick;
  for (int round = 0; round < (options.quick ? 1 : 4); ++round) {
    for (const Static secrets : {Static::kNew, Static::kKnown}) {
      for (size_t i = 0; i < peers.size(); i += kBatch) {
        (secrets == Static::kNew ? first : known).add(answer(gateway, std::span(peers).subspan(i, kBatch), secrets));
        yardstick.add(four_x25519(rng));
      }
    }
  }
  Outcome outcome;
  outcome.about = {{"engine", std::string(gateway.dataplane().engine_name())}};
  Table table{"handshakes answered, worker and control on one core",
              {"handshake", "min_us", "median_us", "handshakes_per_s", "four_x25519_us", "ratio"},
              {}};
  const auto add = [&](const char* what, const Samples& samples) {
    const double ratio = yardstick.min() / samples.min();
    table.rows.push_back(
        {what, samples.min() / 1e3, samples.median() / 1e3, 1e9 / samples.min(), yardstick.min() / 1e3, ratio});
    return ratio;
  };
  add("first of a peer", first);
  const double ratio = add("later ones", known);
  outcome.goals.push_back({"handshakes / four X25519", ratio, Bound::kAtLeast, 0.9});
  outcome.tables.push_back(std::move(table));
  return outcome;
}

}  // namespace sluice::bench
