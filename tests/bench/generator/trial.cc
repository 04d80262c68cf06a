#include "tests/bench/generator/trial.h"

#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>
#include <sched.h>

#include <algorithm>
#include <cmath>

namespace sluice::bench {
namespace {

constexpr size_t kTransmitBurst = 32;
constexpr uint64_t kGapUs = 50;
constexpr size_t kPrefetchedLines = 4;
// Seconds without an arrival, after the last packet was sent, until the rest is lost; and until nothing more will come
// although as much came out as went in, for some of it may have been the gateway's own.
constexpr double kPatience = 0.2, kGrace = 0.001;

// First-in-first-out scheduling of two threads, for the time of a trial: a moment in which either is not running would
// be taken for the gateway's.
class Undisturbed {
 public:
  explicit Undisturbed(pid_t worker) : worker_(worker) { set(SCHED_FIFO, 1); }
  ~Undisturbed() { set(SCHED_OTHER, 0); }
  Undisturbed(const Undisturbed&) = delete;
  Undisturbed& operator=(const Undisturbed&) = delete;

 private:
  void set(int policy, int priority) const {
    const sched_param parameter{.sched_priority = priority};
    if (worker_ == 0) return;
    sched_setscheduler(worker_, policy, &parameter);
    sched_setscheduler(0, policy, &parameter);
  }
  pid_t worker_;
};

// A lane's part of the trial that runs.
class RunningLane {
 public:
  RunningLane(const Lane& lane, const TrialSettings& settings)
      : lane_(lane),
        frames_(lane.stream.prepare(settings.packets)),
        sent_at_(settings.packets),
        per_tick_(settings.packets_s / static_cast<double>(rte_get_tsc_hz())),
        patient_(std::isinf(settings.packets_s)) {
    arrivals_.reserve(2 * settings.packets);
    for (rte_mbuf* frame : frames_) starts_.push_back(rte_pktmbuf_mtod(frame, const std::byte*));
  }

  bool all_sent() const noexcept { return next_ == frames_.size(); }
  bool all_arrived() const noexcept { return arrivals_.size() + refused_ >= frames_.size(); }

  // What is due since the trial began. What the port does not take then is lost, as on a wire.
  void send(uint64_t start) noexcept {
    const uint64_t now = rte_rdtsc();
    const size_t due = patient_ ? frames_.size() : due_at(now - start);
    const auto wanted = static_cast<uint16_t>(std::min(due - std::min(due, next_), kTransmitBurst));
    if (wanted == 0) return;
    prefetch();
    std::fill_n(sent_at_.begin() + static_cast<ptrdiff_t>(next_), wanted, now);
    const uint16_t taken = lane_.in.transmit(0, frames_.data() + next_, wanted);
    next_ += taken;
    if (patient_ || taken == wanted) return;
    rte_pktmbuf_free_bulk(frames_.data() + next_, wanted - taken);
    next_ += static_cast<size_t>(wanted - taken);
    refused_ += static_cast<size_t>(wanted - taken);
  }

  // Frames have been written long ago. The rest of a long one is fetched in time by the processor itself.
  void prefetch() const noexcept {
    const size_t end = std::min(frames_.size(), next_ + 2 * kTransmitBurst);
    for (size_t i = next_ + kTransmitBurst; i < end; ++i) {
      rte_prefetch0(frames_[i]);
      for (size_t line = 0; line < kPrefetchedLines; ++line) rte_prefetch0(starts_[i] + line * RTE_CACHE_LINE_SIZE);
    }
  }

  // When something arrived, or `last` if nothing did.
  uint64_t receive(uint64_t last) noexcept {
    rte_mbuf* frames[kTransmitBurst];
    const uint16_t n = lane_.out.receive(0, frames, kTransmitBurst);
    if (n == 0) return last;
    const uint64_t now = rte_rdtsc();
    for (uint16_t i = 0; i < n; ++i) arrivals_.push_back({frames[i], now});
    return now;
  }

  Figures finish() {
    const auto delivered = lane_.stream.check(arrivals_);
    Figures figures{.sent = frames_.size(), .delivered = delivered.size()};
    if (delivered.empty()) return figures;
    const double hz = static_cast<double>(rte_get_tsc_hz());
    for (const auto& [number, tsc] : delivered)
      figures.latencies_us.push_back(static_cast<double>(tsc - sent_at_[number]) / hz * 1e6);
    std::ranges::sort(figures.latencies_us);
    const double seconds = static_cast<double>(delivered.back().tsc - delivered.front().tsc) / hz;
    if (seconds > 0) figures.delivered_per_s = static_cast<double>(delivered.size()) / seconds;
    return figures;
  }

 private:
  size_t due_at(uint64_t elapsed) const noexcept {
    return std::min(frames_.size(), static_cast<size_t>(per_tick_ * static_cast<double>(elapsed)) + 1);
  }

  Lane lane_;
  std::vector<rte_mbuf*> frames_;
  std::vector<const std::byte*> starts_;  // of the frames
  std::vector<uint64_t> sent_at_;
  std::vector<Arrival> arrivals_;
  double per_tick_;
  bool patient_;
  size_t next_ = 0;     // to be sent
  size_t refused_ = 0;  // by the port
};

// Returns the share of the time that went by in gaps.
double run(std::vector<RunningLane>& lanes) noexcept {
  const uint64_t hz = rte_get_tsc_hz(), start = rte_rdtsc(), gap = hz / 1'000'000 * kGapUs;
  const auto ticks = [hz](double seconds) { return static_cast<uint64_t>(seconds * static_cast<double>(hz)); };
  uint64_t last = start, away = 0;
  for (uint64_t before = start;;) {
    bool sending = false, missing = false;
    for (RunningLane& lane : lanes) {
      lane.send(start);
      last = lane.receive(last);
      sending |= !lane.all_sent();
      missing |= !lane.all_arrived();
    }
    const uint64_t now = rte_rdtsc();
    if (now - before > gap) away += now - before;
    before = now;
    if (sending) {
      last = now;
    } else if (now - last > ticks(missing ? kPatience : kGrace)) {
      return static_cast<double>(away) / static_cast<double>(now - start);
    }
  }
}

}  // namespace

std::vector<Figures> run_trial(std::span<const Lane> lanes, TunnelEnd& end, const TrialSettings& settings) {
  std::vector<RunningLane> running;
  for (const Lane& lane : lanes) running.emplace_back(lane, settings);
  double away;
  {
    const Undisturbed undisturbed(settings.worker);
    away = run(running);
  }
  std::vector<Figures> figures;
  for (RunningLane& lane : running) {
    figures.push_back(lane.finish());
    figures.back().away = away;
  }
  end.send_keepalive();
  return figures;
}

double percentile(const std::vector<double>& sorted, double percent) {
  if (sorted.empty()) return 0;
  const auto at = static_cast<size_t>(static_cast<double>(sorted.size()) * percent / 100);
  return sorted[std::min(at, sorted.size() - 1)];
}

}  // namespace sluice::bench
