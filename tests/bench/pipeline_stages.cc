// What each stage of the pipeline costs: cycles per packet, one worker, packets hot in cache, no NIC. Informs, never
// gates. Usage: pipeline_stages [ENGINE]
#include <rte_cycles.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>

#include "dataplane/port/eal.h"
#include "tests/support/pipeline_bench.h"

namespace sluice::test {
namespace {

constexpr unsigned kRounds = 2000;

// Cycles that each stage took, round by round. The median of the rounds is reported: other programs on the core
// do not move it.
class StageTimes {
 public:
  explicit StageTimes(const WorkerStats& stats) : stats_(stats) { skip(); }
  void skip() {
    for (size_t i = 0; i < kStages; ++i) before_[i] = stats_.stages[i].cycles;
  }
  void end_round() {
    for (size_t i = 0; i < kStages; ++i) rounds_[i].push_back(stats_.stages[i].cycles - before_[i]);
    skip();
  }
  void report(const char* what, size_t size) {
    std::printf("%s, inner packets of %zu bytes\n", what, size);
    double total = 0, cipher = 0;
    for (size_t i = 0; i < kStages; ++i) {
      const double cycles = median(rounds_[i]) / kBurst;
      if (cycles == 0) continue;
      total += cycles;
      const auto stage = static_cast<Stage>(i);
      if (stage == Stage::open_burst || stage == Stage::seal_burst) cipher += cycles;
      std::printf("  %-20s %7.1f cycles/packet\n", std::string(stage_name(stage)).c_str(), cycles);
    }
    const double ns = 1e9 / static_cast<double>(rte_get_tsc_hz());
    std::printf("  all %.0f ns/packet, without the cipher %.0f\n", total * ns, (total - cipher) * ns);
  }

 private:
  static double median(std::vector<uint64_t>& values) {
    const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return static_cast<double>(*middle);
  }
  const WorkerStats& stats_;
  std::array<uint64_t, kStages> before_;
  std::array<std::vector<uint64_t>, kStages> rounds_;
};

Octets inner(std::string_view from, std::string_view to, size_t size) {
  return PacketBuilder(size - 28).udp(1000, 2000).ipv4(from, to);
}

void measure_inbound(PipelineBench& bench, RemoteSession& session, size_t size) {
  static uint64_t counter = 0;
  StageTimes times(*bench.worker().stats);
  const Octets packet = inner("10.2.0.2", "10.1.0.2", size);
  for (unsigned round = 0; round < kRounds; ++round) {
    std::vector<Octets> frames;
    for (unsigned i = 0; i < kBurst; ++i) frames.push_back(bench.datagram(session.seal(counter++, packet)));
    bench.receive(frames);
    bench.release(kLan);
    times.end_round();
  }
  times.report("decrypt and forward", size);
}

void measure_outbound(PipelineBench& bench, size_t size) {
  StageTimes times(*bench.worker().stats);
  const std::vector<Octets> frames(kBurst,
                                   PacketBuilder(inner("10.1.0.2", "10.2.0.2", size)).ethernet(kLanMac, kHostMac));
  for (unsigned round = 0; round < kRounds; ++round) {
    bench.receive(frames, kLan);
    bench.release(kWan);
    times.end_round();
  }
  times.report("forward and encrypt", size);
}

}  // namespace
}  // namespace sluice::test

int main(int argc, char** argv) {
  using namespace sluice;
  const auto started = start_eal({.worker_cores = {0}, .hugepages = EalOptions::Hugepages::kNever, .memory_mib = 128});
  if (!started) {
    std::fprintf(stderr, "%s\n", started.error().what.c_str());
    return 1;
  }
  {
    test::PipelineBench bench(1, argc > 1 ? argv[1] : "");
    test::RemoteSession& session = bench.add_session(bench.peer());
    for (const size_t size : {64u, 512u, 1420u}) {
      test::measure_inbound(bench, session, size);
      test::measure_outbound(bench, size);
    }
  }
  stop_eal();
}
