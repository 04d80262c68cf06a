// Throughput and latency of a device (RFC 2544, sections 26.1 and 26.2), in short trials.
#pragma once

#include <span>
#include <vector>

#include "tests/bench/generator/trial.h"

namespace sluice::bench {

struct SearchSettings {
  size_t packets;    // of a trial, in each direction
  int attempts;      // a rate holds if one of so many trials loses nothing: what disturbs is the machine's other work
  double precision;  // where the search ends, in parts of the rate
  pid_t worker = 0;  // see TrialSettings
};

struct Latency {
  int load;  // percent of the throughput
  std::vector<double> sorted_us;
  double away;  // see Figures
};

struct Found {
  double offered_per_s;    // the throughput in each direction: the greatest rate without loss; 0: none was found
  double saturated_per_s;  // what comes out, all directions together, when the gateway always has more to do
  std::vector<Latency> latencies;  // of all directions together
};

Found measure(std::span<const Lane> lanes, TunnelEnd& end, const SearchSettings& settings);

}  // namespace sluice::bench
