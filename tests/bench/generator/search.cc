#include "tests/bench/generator/search.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace sluice::bench {
namespace {

constexpr int kLoads[] = {10, 50, 90};
constexpr TrialSettings kWarmUp{.packets_s = 100'000, .packets = 1024, .worker = 0};
constexpr int kWarmUpAttempts = 200;

TrialSettings at(double packets_s, const SearchSettings& settings) {
  return {packets_s, settings.packets, settings.worker};
}

// Caches and branch predictors, and a session that the gateway may send under: it learns that from our first message.
void warm_up(std::span<const Lane> lanes, TunnelEnd& end) {
  const auto flows = [](const Figures& figures) { return figures.delivered > 0; };
  for (int i = 0; i < kWarmUpAttempts; ++i)
    if (std::ranges::all_of(run_trial(lanes, end, kWarmUp), flows)) return;
  throw std::runtime_error("nothing comes out of the gateway");
}

// The most that any of some trials gets through.
double saturate(std::span<const Lane> lanes, TunnelEnd& end, const SearchSettings& settings) {
  double most = 0;
  for (int i = 0; i < settings.attempts; ++i) {
    double sum = 0;
    for (const Figures& figures : run_trial(lanes, end, at(std::numeric_limits<double>::infinity(), settings)))
      sum += figures.delivered_per_s;
    most = std::max(most, sum);
  }
  return most;
}

// What came out in each direction when nothing was lost at that rate, which is a little less than was offered if the
// gateway's queues still filled; 0: something was lost in every attempt.
double held(std::span<const Lane> lanes, TunnelEnd& end, double packets_s, const SearchSettings& settings) {
  for (int i = 0; i < settings.attempts; ++i) {
    const auto all = run_trial(lanes, end, at(packets_s, settings));
    if (!std::ranges::all_of(all, [](const Figures& figures) { return figures.lost() == 0; })) continue;
    const auto slowest = std::ranges::min_element(all, {}, &Figures::delivered_per_s);
    return std::min(packets_s, slowest->delivered_per_s);
  }
  return 0;
}

// From what should hold upwards until something does not, and then between the two. `likely` is what came out when as
// much was offered as this program can offer: where nothing is lost at any rate, it is this program that ends it.
double highest_rate(std::span<const Lane> lanes, TunnelEnd& end, double likely, const SearchSettings& settings) {
  double low = 0, best = 0, high = 0;
  for (double rate = likely; high == 0 ? rate < 2 * likely : high - low > settings.precision * high;
       rate = high == 0 ? 1.1 * rate : (low + high) / 2) {
    const double delivered = held(lanes, end, rate, settings);
    (delivered > 0 ? low : high) = rate;
    best = std::max(best, delivered);
  }
  return best;
}

// The attempt with the best 99th percentile.
Latency latency_at(std::span<const Lane> lanes, TunnelEnd& end, double full, int load, const SearchSettings& settings) {
  Latency best{.load = load};
  for (int i = 0; i < settings.attempts; ++i) {
    Latency latency{.load = load};
    for (const Figures& figures : run_trial(lanes, end, at(full * load / 100, settings))) {
      latency.sorted_us.insert(latency.sorted_us.end(), figures.latencies_us.begin(), figures.latencies_us.end());
      latency.away = figures.away;
    }
    std::ranges::sort(latency.sorted_us);
    const bool better = percentile(latency.sorted_us, 99) < percentile(best.sorted_us, 99);
    if (best.sorted_us.empty() || (better && !latency.sorted_us.empty())) best = std::move(latency);
  }
  return best;
}

}  // namespace

Found measure(std::span<const Lane> lanes, TunnelEnd& end, const SearchSettings& settings) {
  end.keep_session();
  warm_up(lanes, end);
  Found found{};
  found.saturated_per_s = saturate(lanes, end, settings);
  if (found.saturated_per_s <= 0) return found;
  const double each = found.saturated_per_s / static_cast<double>(lanes.size());
  found.offered_per_s = highest_rate(lanes, end, each, settings);
  const double full = found.offered_per_s > 0 ? found.offered_per_s : each;
  for (const int load : kLoads) found.latencies.push_back(latency_at(lanes, end, full, load, settings));
  return found;
}

}  // namespace sluice::bench
