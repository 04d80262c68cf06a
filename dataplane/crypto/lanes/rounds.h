// In which order an instruction set does best with the quarter rounds of a state (chacha20.h).
#pragma once

namespace sluice::lanes {

enum class Rounds {
  kInPairs,    // two at a time: where registers are few
  kInStep,     // four at a time, instruction by instruction
  kStaggered,  // four, two of them an instruction behind the other two
};

}  // namespace sluice::lanes
