// A token bucket: `rate` (> 0) a second on average, `burst` at once. Single thread; the time is passed in.
#pragma once

#include <algorithm>
#include <cstdint>

#include "dataplane/base/clock.h"

namespace sluice {

class TokenBucket {
 public:
  TokenBucket(uint32_t rate, uint32_t burst) : rate_(rate), full_(int64_t{burst} * kSecond), level_(full_) {}

  bool take(MonoTime now) {
    // Levels are in tokens x nanoseconds, so nothing is rounded away. A clock that steps back adds nothing.
    const int64_t passed = std::max<int64_t>((now - last_).count(), 0);
    last_ = now;
    level_ = passed > (full_ - level_) / rate_ ? full_ : level_ + passed * rate_;
    if (level_ < kSecond) return false;
    level_ -= kSecond;
    return true;
  }

 private:
  static constexpr int64_t kSecond = 1'000'000'000;
  int64_t rate_;
  int64_t full_;
  int64_t level_;
  MonoTime last_{};
};

}  // namespace sluice
