// A clock that a test sets. Starts at an arbitrary non-zero time, because 0 means "never".
#pragma once

#include "dataplane/base/clock.h"

namespace sluice::test {

class ManualClock final : public Clock {
 public:
  MonoTime now() const noexcept override { return now_; }
  WallTime wall() const noexcept override { return wall_; }
  void advance(Nanoseconds d) {
    now_ = now_ + d;
    const int64_t ns = wall_.nanoseconds + d.count();
    wall_.seconds += ns / 1'000'000'000;
    wall_.nanoseconds = static_cast<uint32_t>(ns % 1'000'000'000);
  }

 private:
  MonoTime now_{1'000'000'000};
  WallTime wall_{1'700'000'000, 0};
};

}  // namespace sluice::test
