// `peers`: packets of many peers in random order against packets of one. With many, every packet meets a keypair, a
// peer, an outer route, an entry of the session table and allowed IPs that left the cache long ago.
#include <algorithm>
#include <numeric>
#include <vector>

#include "tests/bench/bench.h"
#include "tests/bench/path_runs.h"
#include "tests/support/seeded_rng.h"

namespace sluice::bench {
namespace {

// Sessions of single hosts, visited in a random order again and again.
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
  }
  std::vector<Conversation> next_burst() {
    std::vector<Conversation> burst;
    for (unsigned i = 0; i < kBurstPackets; ++i) {
      const uint32_t peer = order_[next_++ % order_.size()];
      burst.push_back({&sessions_[peer], lan_host(i), Gateway::inner_address_of(peer), kSize});
    }
    return burst;
  }
  unsigned bursts() const { return static_cast<unsigned>(order_.size() / kBurstPackets) + 1; }
  static constexpr size_t kSize = 64;

 private:
  std::vector<Session> sessions_;
  std::vector<uint32_t> order_;
  size_t next_ = 0;
};

void report(Outcome& outcome, Direction direction, uint32_t peers, const PathRuns& one, const PathRuns& many) {
  const double ratio = many.path().min() / one.path().min();
  const std::string way = name_of(direction);
  outcome.tables[0].rows.push_back({way, static_cast<double>(peers), one.path().min(), one.path().median(),
                                    many.path().min(), many.path().median(), ratio,
                                    many.path().median() / one.path().median()});
  outcome.goals.push_back({"peers, 100,000 / 1, 64 B, " + way, ratio, Bound::kAtMost, 1.5});
}

}  // namespace

Outcome measure_peers(const Options& options) {
  const uint32_t peers = options.quick ? 1000 : 100'000;
  Gateway quiet({.engine = options.engine}), busy({.engine = options.engine});
  PeerControl& site = quiet.add_site_peer();
  quiet.settle();
  Crowd crowd(busy, peers);
  FarSide around_quiet(quiet), around_busy(busy);

  Outcome outcome;
  outcome.about = {{"engine", std::string(busy.dataplane().engine_name())}};
  outcome.tables.push_back({"a worker's path at 64 bytes, peers in random order, ns a packet",
                            {"direction", "peers", "one_peer_ns", "one_peer_median", "all_peers_ns", "all_peers_median",
                             "ratio", "median_ratio"},
                            {}});
  Table stages{"cycles a packet, by stage", {"peers", "direction", "stage", "min_cycles", "median_cycles"}, {}};
  for (const Direction direction : {Direction::kOutbound, Direction::kInbound}) {
    Session session = quiet.open_session(site);
    PathRuns one(quiet, around_quiet, direction, [&] { return conversations(of_size(Crowd::kSize), session); });
    PathRuns many(busy, around_busy, direction, [&] { return crowd.next_burst(); });
    one.warm_up(2);
    many.warm_up(crowd.bursts());
    for (int i = 0; i < (options.quick ? 5 : 2000); ++i) {
      one.run();
      many.run();
    }
    report(outcome, direction, peers, one, many);
    if (options.stages) {
      one.stages().add_rows(stages, "1 peer", direction);
      many.stages().add_rows(stages, "all", direction);
    }
  }
  if (options.stages) outcome.tables.push_back(std::move(stages));
  return outcome;
}

}  // namespace sluice::bench
