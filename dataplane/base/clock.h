// Time, passed in wherever behaviour depends on it. Tests pass a manual clock; a test binary passes a scaled one.
#pragma once

#include <chrono>
#include <cstdint>

namespace sluice {

using Nanoseconds = std::chrono::nanoseconds;

// Time since boot, suspend included (CLOCK_BOOTTIME), as the protocol asks: keys must be expired on wake-up. Inside a
// burst it is a plain integer: nanoseconds, 0 meaning "never".
struct MonoTime {
  int64_t ns = 0;
  constexpr auto operator<=>(const MonoTime&) const = default;
  constexpr bool is_never() const { return ns == 0; }
  constexpr MonoTime operator+(Nanoseconds d) const { return {ns + d.count()}; }
  constexpr MonoTime operator-(Nanoseconds d) const { return {ns - d.count()}; }
  constexpr Nanoseconds operator-(MonoTime other) const { return Nanoseconds(ns - other.ns); }
};

// Wall-clock time since 1970 UTC.
struct WallTime {
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;
  constexpr auto operator<=>(const WallTime&) const = default;
};

// Thread-safe: workers and control read the same clock.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonoTime now() const noexcept = 0;
  virtual WallTime wall() const noexcept = 0;
  // How much real time `d` of this clock takes. Only a test's scaled clock answers anything but `d`; whoever sleeps
  // asks.
  virtual Nanoseconds real_duration(Nanoseconds d) const noexcept { return d; }
  // For how long (real time) a worker may go by one answer of now(), which takes some 16 ns, a fifth of a small
  // packet's whole way. Nothing it decides by the time is finer than a millisecond.
  virtual Nanoseconds lasts() const noexcept { return Nanoseconds(0); }
};

class SystemClock final : public Clock {
 public:
  MonoTime now() const noexcept override;
  WallTime wall() const noexcept override;
  Nanoseconds lasts() const noexcept override { return std::chrono::microseconds(10); }
};

}  // namespace sluice
