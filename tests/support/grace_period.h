// Quiescent-state reclamation for one reader and one writer, as small as it can be: what the writer defers is destroyed
// once the reader has been quiescent since. The product uses DPDK's; tests without an EAL use this.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <thread>
#include <utility>

namespace sluice::test {

class GracePeriod {
 public:
  ~GracePeriod() {
    reader_left();
    reclaim();
  }

  // Reader: holds no pointer from here on. The release pairs with the acquire in reclaim().
  void quiescent() { seen_.store(now_.load(std::memory_order_acquire), std::memory_order_release); }
  void reader_left() { seen_.store(UINT64_MAX, std::memory_order_release); }

  // Writer: `destroy` runs after the grace period. Waits for the reader when too much is waiting.
  void defer(std::function<void()> destroy) {
    waiting_.emplace_back(now_.fetch_add(1, std::memory_order_acq_rel) + 1, std::move(destroy));
    reclaim();
    while (waiting_.size() > 256) {
      std::this_thread::yield();
      reclaim();
    }
  }

 private:
  void reclaim() {
    const uint64_t seen = seen_.load(std::memory_order_acquire);
    while (!waiting_.empty() && waiting_.front().first <= seen) {
      waiting_.front().second();
      waiting_.pop_front();
    }
  }

  std::atomic<uint64_t> now_{0};
  std::atomic<uint64_t> seen_{0};
  std::deque<std::pair<uint64_t, std::function<void()>>> waiting_;
};

}  // namespace sluice::test
