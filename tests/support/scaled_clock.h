// A clock whose time since boot runs `factor` times as fast as the system's, so that a test sees a rekey every few
// seconds. Wall-clock time stays true: `latest handshake` is compared with the system's.
#pragma once

#include <chrono>

#include "dataplane/base/clock.h"

namespace sluice::test {

class ScaledClock final : public Clock {
 public:
  explicit ScaledClock(int64_t factor) : factor_(factor), start_(system_.now()) {}
  MonoTime now() const noexcept override { return start_ + (system_.now() - start_) * factor_; }
  WallTime wall() const noexcept override { return system_.wall(); }
  Nanoseconds real_duration(Nanoseconds d) const noexcept override { return d / factor_; }

 private:
  SystemClock system_;
  int64_t factor_;
  MonoTime start_;
};

}  // namespace sluice::test
