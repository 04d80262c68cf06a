// SLUICE_TEST_SPREAD in the environment: workers take themselves for saturated at all times, and every burst's cipher
// work is open to all. The suites have to pass with it as they do without.
#pragma once

#include <cstdlib>
#include <limits>
#include <optional>

#include "dataplane/pipeline/spread.h"

namespace sluice::test {

inline Spread::Options always_spread() {
  Spread::Options options;
  options.min_packets = 1;
  options.give_up_after = std::numeric_limits<unsigned>::max();
  options.window = Nanoseconds(0);
  options.saturation = {.enter = 0, .full = 0, .leave = 0};
  return options;
}

inline std::optional<Spread::Options> forced_spread() {
  return std::getenv("SLUICE_TEST_SPREAD") != nullptr ? std::optional(always_spread()) : std::nullopt;
}

}  // namespace sluice::test
