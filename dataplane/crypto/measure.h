// How fast AEAD engines are on this CPU, and which to prefer for that. Control thread, at start.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "dataplane/crypto/aead.h"

namespace sluice {

struct EngineSpeed {
  std::string_view name;
  double nanoseconds;  // per packet, to seal and open it, in bursts of the simple Internet mix (64, 594, 1420 bytes)
};

// Takes about two milliseconds per engine.
std::vector<EngineSpeed> measure_engines(std::span<const std::unique_ptr<AeadEngine>> engines);

// The name of the fastest. Who comes earlier in the list is preferred to one that is not clearly faster, so that the
// choice is the same at every start. `engines` is not empty.
std::string_view fastest_engine(std::span<const EngineSpeed> engines) noexcept;

}  // namespace sluice
