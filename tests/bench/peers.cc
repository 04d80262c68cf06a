// `peers`: packets of many peers in random order against packets of one. With many, every packet is a run of its own:
// what is else done once a burst and peer is done for each packet. How much that is, a crowd shows that the caches
// hold. With more, every packet meets a key, a peer, an outer route and a flow that left the caches long ago. What
// memory takes for that whoever asks is measured beside it: the lines of the sessions of a burst, asked for together
// and then read, and nothing else.
#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <vector>

#include "dataplane/base/prefetch.h"
#include "tests/bench/bench.h"
#include "tests/bench/path_runs.h"
#include "tests/support/seeded_rng.h"

namespace sluice::bench {
namespace {

constexpr size_t kSize = 64;

// Sessions of single hosts, each with a flow, visited in a random order again and again.
class Crowd {
 public:
  Crowd(Gateway& gateway, uint32_t peers) {
    sessions_.reserve(peers);
    for (uint32_t n = 0; n < peers; ++n) sessions_.push_back(gateway.open_session(gateway.add_host_peer(n)));
    order_.resize(peers);
    std::iota(order_.begin(), order_.end(), 0u);
    test::SeededRng rng;
    for (uint32_t n = peers - 1; n > 0; --n) std::swap(order_[n], order_[rng.below(n + 1)]);
    gateway.settle();
    for (const uint32_t peer : order_) add_lines(*sessions_[peer].keypair);
  }
  std::vector<Conversation> next_burst() {
    std::vector<Conversation> burst;
    for (unsigned i = 0; i < kBurstPackets; ++i) {
      const uint32_t peer = order_[next_++ % order_.size()];
      burst.push_back({&sessions_[peer], lan_host(peer % kLanHosts), Gateway::inner_address_of(peer), kSize});
    }
    return burst;
  }
  // Nanoseconds a packet for a burst's lines, of sessions that have not been visited for half a turn.
  double time_of_lines(Direction direction) {
    const auto& lines = direction == Direction::kOutbound ? to_send_ : to_receive_;
    const size_t per_packet = lines.size() / order_.size();
    const size_t first = (next_ + order_.size() / 2) % (order_.size() - kBurstPackets + 1) * per_packet;
    const std::span burst(lines.data() + first, kBurstPackets * per_packet);
    return time_ns([&] {
             for (const void* line : burst) prefetch_far(line);
             for (const void* line : burst) static_cast<void>(*static_cast<const volatile std::byte*>(line));
           }) /
           kBurstPackets;
  }
  unsigned bursts() const { return static_cast<unsigned>(order_.size() / kBurstPackets) + 1; }
  uint32_t peers() const { return static_cast<uint32_t>(order_.size()); }

 private:
  // What no way of keeping sessions does without: of the peer a line; to send, of its route one and one to send under;
  // to receive, the two to receive under.
  void add_lines(const Keypair& keypair) {
    const ReceivingKey& receiving = keypair.receiving;
    const Peer& peer = *receiving.peer;
    const OuterRoute& route = *peer.outer.load();
    to_send_.insert(to_send_.end(), {&peer, &route.state, keypair.sending.get()});
    to_receive_.insert(to_receive_.end(), {&peer, &receiving, &receiving.heard});
  }

  std::vector<Session> sessions_;
  std::vector<uint32_t> order_;
  std::vector<const void*> to_send_, to_receive_;  // in that order
  size_t next_ = 0;
};

// A gateway with so many peers beside one with a single peer.
class Comparison {
 public:
  Comparison(const Options& options, Gateway& quiet, PeerControl& site, uint32_t peers)
      : options_(options),
        quiet_(quiet),
        site_(site),
        around_quiet_(quiet),
        busy_({.engine = options.engine, .stages = options.stages}),
        crowd_(busy_, peers),
        around_busy_(busy_) {}

  // Adds rows; the time with all peers as a multiple of that with one.
  double run(Direction direction, Table& table, Table& stages) {
    Session session = quiet_.open_session(site_);
    PathRuns one(quiet_, around_quiet_, direction, [&] { return conversations(of_size(kSize), session); });
    PathRuns many(busy_, around_busy_, direction, [&] { return crowd_.next_burst(); });
    one.warm_up(2);
    many.warm_up(crowd_.bursts());
    Samples lines;
    for (int i = 0; i < (options_.quick ? 2 : 120); ++i) {
      for (int k = 0; k < kAloneInARow; ++k) one.run_path();
      for (int k = 0; k < kCrowdInARow; ++k) many.run_path();
      lines.add(crowd_.time_of_lines(direction));
    }
    const double peers = crowd_.peers(), ratio = many.path().min() / one.path().min();
    table.rows.push_back({name_of(direction), peers, one.path().min(), one.path().median(), many.path().min(),
                          many.path().median(), ratio, many.path().median() / one.path().median(), lines.min(),
                          lines.median()});
    one.stages().add_rows(stages, "1", direction);
    many.stages().add_rows(stages, std::to_string(crowd_.peers()), direction);
    return ratio;
  }

 private:
  // Taking turns. What is measured beside the crowd takes the place of its lines in the caches, and time, in which
  // others take places in those that are shared with them; and it takes us longer to make packets than a worker to be
  // through with them, who would see 100,000 peers again after 10 ms. So the crowd is most of it, and the single peer
  // has some runs to fill the caches anew.
  static constexpr int kAloneInARow = 6, kCrowdInARow = 48;

  const Options& options_;
  Gateway& quiet_;
  PeerControl& site_;
  FarSide around_quiet_;
  Gateway busy_;
  Crowd crowd_;
  FarSide around_busy_;
};

}  // namespace

Outcome measure_peers(const Options& options) {
  Gateway quiet({.engine = options.engine, .stages = options.stages});
  PeerControl& site = quiet.add_site_peer();
  quiet.settle();

  Outcome outcome;
  outcome.about = {{"engine", std::string(quiet.dataplane().engine_name())}};
  Table table{"a worker's path at 64 bytes, peers in random order, ns a packet",
              {"direction", "peers", "one_peer_ns", "one_peer_median", "all_peers_ns", "all_peers_median", "ratio",
               "median_ratio", "lines_ns", "lines_median"},
              {}};
  Table stages{"cycles a packet, by stage", {"peers", "direction", "stage", "min_cycles", "median_cycles"}, {}};
  const uint32_t most = options.quick ? 1000 : 100'000;
  for (uint32_t peers = 100; peers <= most; peers *= 10) {
    Comparison comparison(options, quiet, site, peers);
    for (const Direction direction : {Direction::kOutbound, Direction::kInbound}) {
      const double ratio = comparison.run(direction, table, stages);
      if (peers == most)
        outcome.goals.push_back(
            {std::string("peers, 100,000 / 1, 64 B, ") + name_of(direction), ratio, Bound::kAtMost, 1.5});
    }
  }
  outcome.tables.push_back(std::move(table));
  if (options.stages) outcome.tables.push_back(std::move(stages));
  return outcome;
}

}  // namespace sluice::bench
