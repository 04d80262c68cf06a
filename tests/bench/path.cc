// `path`: a real worker's poll_once() over bursts of one peer with 64 inner flows, from receive to transmit, against
// the engine alone on the same buffers. Writing the frames and sealing what arrives is not timed.
#include <string>
#include <vector>

#include "tests/bench/bench.h"
#include "tests/bench/path_runs.h"

namespace sluice::bench {
namespace {

void add_row(Table& table, const std::string& size, Direction direction, const PathRuns& runs) {
  const double path = runs.path().min(), cipher = runs.cipher().min();
  table.rows.push_back({size, name_of(direction), path, runs.path().median(), cipher, runs.cipher().median(),
                        path / cipher, path - cipher, 1e9 / path});
}

void add_goals(Outcome& outcome, const std::string& size, Direction direction, const PathRuns& runs) {
  const double path = runs.path().min(), cipher = runs.cipher().min();
  const std::string way = name_of(direction);
  if (size == "1420") outcome.goals.push_back({"path / cipher, 1420 B, " + way, path / cipher, Bound::kAtMost, 1.15});
  if (size == "64") outcome.goals.push_back({"path - cipher, 64 B, ns, " + way, path - cipher, Bound::kAtMost, 40});
}

}  // namespace

Outcome measure_path(const Options& options) {
  Gateway gateway({.engine = options.engine, .offloads = options.offloads, .stages = options.stages});
  PeerControl& peer = gateway.add_site_peer();
  gateway.settle();
  FarSide far_side(gateway);

  Outcome outcome;
  outcome.about = {{"engine", std::string(gateway.dataplane().engine_name())},
                   {"checksums", options.offloads ? "by the ports" : "in software"}};
  Table table{"a worker's path, receive to transmit, one peer, 64 inner flows, ns a packet",
              {"size", "direction", "path_ns", "path_median", "cipher_ns", "cipher_median", "ratio", "difference_ns",
               "packets_per_s"},
              {}};
  Table stages{"cycles a packet, by stage", {"size", "direction", "stage", "min_cycles", "median_cycles"}, {}};
  Session session = gateway.open_session(peer);
  struct Part {
    std::string size;
    Direction direction;
    PathRuns runs;
  };
  std::vector<Part> parts;
  for (const Traffic& traffic : all_traffic())
    for (const Direction direction : {Direction::kOutbound, Direction::kInbound})
      parts.push_back({traffic.name, direction, PathRuns(gateway, far_side, direction, [&, traffic] {
                         return conversations(traffic, session);
                       })});
  // All sizes in every round: a machine has slow and fast seconds.
  for (int round = 0; round < (options.quick ? 1 : 20); ++round) {
    for (Part& part : parts) {
      gateway.renew(session);
      part.runs.warm_up(2);
      for (int i = 0; i < (options.quick ? 5 : 50); ++i) part.runs.run();
    }
  }
  for (const Part& part : parts) {
    add_row(table, part.size, part.direction, part.runs);
    add_goals(outcome, part.size, part.direction, part.runs);
    part.runs.stages().add_rows(stages, part.size, part.direction);
  }
  outcome.tables.push_back(std::move(table));
  if (options.stages) outcome.tables.push_back(std::move(stages));
  return outcome;
}

}  // namespace sluice::bench
