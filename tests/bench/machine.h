// The machine as the bench uses it: DPDK's environment, and the calling thread on one core.
#pragma once

#include <vector>

namespace sluice::bench {

class Machine {
 public:
  Machine();  // once per process. Throws std::runtime_error
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // Cores that workers may be launched on: two if there are two.
  static const std::vector<unsigned>& worker_cores();
};

}  // namespace sluice::bench
