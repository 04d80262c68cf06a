// TAI64N timestamps of initiations (WireGuard paper, section 5.1): 12 bytes, big endian, so that comparing the bytes
// compares the times.
#pragma once

#include <array>
#include <compare>
#include <cstddef>

#include "dataplane/base/clock.h"
#include "dataplane/wire/messages.h"

namespace sluice {

struct Tai64n {
  WireBytes<kTimestampSize> bytes{};  // all zero: before every real time
  auto operator<=>(const Tai64n&) const = default;

  // The nanoseconds are rounded down to a multiple of 2^24 (the largest power of two below the 20 ms that a responder
  // asks between two initiations), so that a precise clock does not leak through them. No leap-second table: seconds
  // count from 1970 as the kernel's do.
  static Tai64n whitened(WallTime time) noexcept;
};

}  // namespace sluice
