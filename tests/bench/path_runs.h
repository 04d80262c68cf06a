// The timing of a worker's path: what `path` and `peers` share.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "dataplane/pipeline/stats.h"
#include "tests/bench/far_side.h"
#include "tests/bench/report.h"
#include "tests/bench/samples.h"
#include "tests/bench/traffic.h"

namespace sluice::bench {

const char* name_of(Direction direction);

// A burst of one session, its packets of as many flows as there are hosts.
std::vector<Conversation> conversations(const Traffic& traffic, Session& session);

// Cycles of each stage of a worker, run by run.
class StageSamples {
 public:
  explicit StageSamples(const WorkerStats& stats);
  void skip();  // what was until now is not part of a run
  void end_run(double packets);
  void add_rows(Table& table, const std::string& size, Direction direction) const;

 private:
  const WorkerStats& stats_;
  std::array<uint64_t, kStages> before_;
  std::array<Samples, kStages> runs_;
};

// Nanoseconds a packet from receive to transmit, and of the engine alone on the same buffers.
class PathRuns {
 public:
  using NextBurst = std::function<std::vector<Conversation>()>;
  PathRuns(Gateway& gateway, FarSide& far_side, Direction direction, NextBurst next_burst);

  // Not measured: stamps are set, control is told who is active. Everything that comes out is checked.
  void warm_up(unsigned bursts);
  void run();
  void run_path();  // without the engine alone

  const Samples& path() const noexcept { return path_; }
  const Samples& cipher() const noexcept { return cipher_; }
  const StageSamples& stages() const noexcept { return stages_; }

 private:
  double poll(std::span<const Conversation> burst);
  std::vector<Conversation> time_path();

  Gateway& gateway_;
  FarSide& far_side_;
  Direction direction_;
  NextBurst next_burst_;
  StageSamples stages_;
  Samples path_, cipher_;
};

}  // namespace sluice::bench
