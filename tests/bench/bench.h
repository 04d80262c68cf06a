// The measurements, one file each. Every one prints nothing and returns what it found; what cannot be measured here
// (no second core, too little memory) is a std::runtime_error of one line. Figures are nanoseconds and ratios in one
// run on one machine, never compared across runs.
#pragma once

#include <string>

#include "tests/bench/report.h"

namespace sluice::bench {

struct Options {
  bool quick = false;     // a few runs only: shows that it works, and no more
  std::string engine;     // empty: the fastest
  bool stages = false;    // path: cycles by stage
  bool offloads = false;  // path: the ports do checksums, as NICs do
};

Outcome measure_cipher(const Options& options);
Outcome measure_path(const Options& options);
Outcome measure_peers(const Options& options);
Outcome measure_spread(const Options& options);
Outcome measure_handshake(const Options& options);
Outcome measure_memory(const Options& options);
Outcome measure_flood(const Options& options);

}  // namespace sluice::bench
