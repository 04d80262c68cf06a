// AVX-512 with IFMA: products of 52-bit numbers.
#pragma once

#include "dataplane/crypto/lanes/isa_avx512.h"

namespace sluice::lanes {

struct Avx512Ifma : Avx512 {
  // AMD's Zen 4 rotates on two of the four ports it adds on (each takes half a vector): in step, adding waits for them.
  static constexpr Rounds kRounds = Rounds::kStaggered;
  static constexpr unsigned kSumsInFlight = 2;

  // sum + the low, or the high, 52 bits of the product of the low 52 bits of a and b
  static Longs multiply_add_low52(Longs sum, Longs a, Longs b) noexcept { return _mm512_madd52lo_epu64(sum, a, b); }
  static Longs multiply_add_high52(Longs sum, Longs a, Longs b) noexcept { return _mm512_madd52hi_epu64(sum, a, b); }
};

}  // namespace sluice::lanes
