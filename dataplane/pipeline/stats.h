// Calls, packets and cycles per stage: the built-in profiler (`sluice stats`). Written by one worker (relaxed), summed
// by readers.
#pragma once

#include <rte_cycles.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace sluice {

// clang-format off
#define SLUICE_STAGES(X) \
  X(receive) X(parse_frames) X(take_messages) \
  X(find_sessions) X(open_burst) X(accept_messages) X(check_inner) X(find_flows) \
  X(forward) X(encapsulate) X(seal_burst) X(finish_outer) \
  X(spread) X(help) X(transmit) X(punt) X(inbox)
// clang-format on

enum class Stage : uint8_t {
#define SLUICE_X(name) name,
  SLUICE_STAGES(SLUICE_X)
#undef SLUICE_X
      count_
};
inline constexpr size_t kStages = static_cast<size_t>(Stage::count_);
std::string_view stage_name(Stage stage) noexcept;

struct StageCounters {
  std::atomic<uint64_t> calls{0}, packets{0}, cycles{0};
};

struct alignas(64) WorkerStats {
  std::array<StageCounters, kStages> stages;
  std::atomic<uint64_t> polls{0}, empty_polls{0}, sleeps{0};
  std::atomic<uint64_t> busy_cycles{0}, asleep_ns{0};
  // Of this worker while it was saturated (spread.h): bursts that were open to all, packets in them that others worked
  // on, chunks that did not come back in time. What it did for others is the stage `help`, a call per chunk.
  std::atomic<uint64_t> spread_bursts{0}, spread_packets_helped{0}, spread_stalls{0};
  // Data messages that arrived here although another worker owns their session, and were handed to it: none where ports
  // steer (port/steering.h).
  std::atomic<uint64_t> handed_off{0};

  // The rest is the owning worker's only.
  // Cycles of the stage that is running which another one has on its account (StageClock).
  uint64_t accounted = 0;
  // Reading the clock for each stage of each poll takes 2 ns a packet in bursts of 64, and more in smaller ones: the
  // stages of one poll in so many are timed, and count for the others. 0: this poll is not timed.
  uint32_t weight = 1;

  uint64_t clock() const noexcept { return weight != 0 ? rte_rdtsc() : 0; }
  void note(Stage stage, unsigned packets, uint64_t cycles) noexcept {
    auto& s = stages[static_cast<size_t>(stage)];
    bump(s.calls, 1);
    bump(s.packets, packets);
    if (weight != 0) bump(s.cycles, cycles * weight);
  }
  static void bump(std::atomic<uint64_t>& c, uint64_t n) noexcept {
    c.store(c.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
};

// Times consecutive stages with one timestamp each: the end of one is the start of the next. A stage that runs within
// another (a full transmit queue is flushed wherever it fills up) notes its own cycles, and they are not the other's.
class StageClock {
 public:
  explicit StageClock(WorkerStats& stats) noexcept : stats_(stats), last_(stats.clock()) { stats_.accounted = 0; }
  void finished(Stage stage, unsigned packets) noexcept {
    const uint64_t now = stats_.clock();
    stats_.note(stage, packets, now - last_ - std::exchange(stats_.accounted, 0));
    last_ = now;
  }

 private:
  WorkerStats& stats_;
  uint64_t last_;
};

}  // namespace sluice
