#include "tests/bench/path_runs.h"

#include <utility>

namespace sluice::bench {
namespace {

constexpr unsigned kBurstsPerRun = 4;

}  // namespace

const char* name_of(Direction direction) { return direction == Direction::kOutbound ? "encapsulate" : "decapsulate"; }

std::vector<Conversation> conversations(const Traffic& traffic, Session& session) {
  std::vector<Conversation> burst;
  for (size_t i = 0; i < traffic.sizes.size(); ++i) {
    const auto flow = static_cast<unsigned>(i % kLanHosts);
    burst.push_back({&session, lan_host(flow), site_host(flow), traffic.sizes[i]});
  }
  return burst;
}

StageSamples::StageSamples(const WorkerStats& stats) : stats_(stats) { skip(); }

void StageSamples::skip() {
  for (size_t i = 0; i < kStages; ++i) before_[i] = stats_.stages[i].cycles;
}

void StageSamples::end_run(double packets) {
  for (size_t i = 0; i < kStages; ++i)
    runs_[i].add(static_cast<double>(stats_.stages[i].cycles - before_[i]) / packets);
  skip();
}

void StageSamples::add_rows(Table& table, const std::string& size, Direction direction) const {
  for (size_t i = 0; i < kStages; ++i)
    if (const double cycles = runs_[i].median(); cycles != 0)
      table.rows.push_back(
          {size, name_of(direction), std::string(stage_name(static_cast<Stage>(i))), runs_[i].min(), cycles});
}

PathRuns::PathRuns(Gateway& gateway, FarSide& far_side, Direction direction, NextBurst next_burst)
    : gateway_(gateway),
      far_side_(far_side),
      direction_(direction),
      next_burst_(std::move(next_burst)),
      stages_(gateway.worker().stats()) {}

double PathRuns::poll(std::span<const Conversation> burst) {
  far_side_.prepare(direction_, burst);
  return time_ns([&] { gateway_.worker().poll_once(); });
}

void PathRuns::warm_up(unsigned bursts) {
  for (unsigned i = 0; i < bursts; ++i) {
    const std::vector<Conversation> burst = next_burst_();
    poll(burst);
    far_side_.verify(direction_, burst);
    far_side_.free_transmitted();
    gateway_.control_turn();
  }
  stages_.skip();
}

// A worker under load goes from one burst to the next: all of a run are prepared before the first is polled, and the
// cipher has its bursts in a row, too.
std::vector<Conversation> PathRuns::time_path() {
  std::vector<Conversation> all;
  for (unsigned i = 0; i < kBurstsPerRun; ++i) {
    const std::vector<Conversation> burst = next_burst_();
    all.insert(all.end(), burst.begin(), burst.end());
  }
  far_side_.prepare(direction_, all);
  const auto packets = static_cast<double>(all.size());
  path_.add(time_ns([&] {
              while (gateway_.worker().poll_once() != 0) {
              }
            }) /
            packets);
  stages_.end_run(packets);
  return all;
}

void PathRuns::run() {
  const std::vector<Conversation> all = time_path();
  cipher_.add(far_side_.cipher_time(direction_, all) / static_cast<double>(all.size()));
  far_side_.free_transmitted();
}

void PathRuns::run_path() {
  time_path();
  far_side_.free_transmitted();
}

}  // namespace sluice::bench
