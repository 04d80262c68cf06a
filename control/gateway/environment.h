// DPDK's environment, stopped after everything that uses it.
#pragma once

#include "dataplane/port/eal.h"

namespace sluice {

struct Environment {
  bool started = false;
  Environment() = default;
  ~Environment() {
    if (started) stop_eal();
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
};

}  // namespace sluice
