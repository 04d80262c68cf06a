// Times of short runs. Machines are noisy, so what is compared is interleaved, run by run, and the minimum of each
// contender is compared; the median says how noisy it was.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <vector>

namespace sluice::bench {

using SteadyClock = std::chrono::steady_clock;

// Nanoseconds that `work` takes.
template <class Work>
double time_ns(Work&& work) {
  const auto start = SteadyClock::now();
  work();
  return std::chrono::duration<double, std::nano>(SteadyClock::now() - start).count();
}

// Nanoseconds of CPU time of this thread: for single runs that take longer than a core's other users leave it alone.
template <class Work>
double cpu_time_ns(Work&& work) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
  };
  const double start = now();
  work();
  return now() - start;
}

class Samples {
 public:
  void add(double value) { values_.push_back(value); }
  bool empty() const noexcept { return values_.empty(); }
  double min() const { return values_.empty() ? 0 : *std::ranges::min_element(values_); }
  double median() const {
    if (values_.empty()) return 0;
    std::vector<double> sorted = values_;
    const auto middle = sorted.begin() + static_cast<ptrdiff_t>(sorted.size() / 2);
    std::ranges::nth_element(sorted, middle);
    return *middle;
  }

 private:
  std::vector<double> values_;
};

}  // namespace sluice::bench
