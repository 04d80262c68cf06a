// AVX-512 with IFMA: products of 52-bit numbers.
#pragma once

#include "dataplane/crypto/lanes/isa_avx512.h"

namespace sluice::lanes {

struct Avx512Ifma : Avx512 {
  static constexpr bool kWritesBehind = false;
  static constexpr unsigned kSumsInFlight = 2;
  static constexpr unsigned kGroupsInFlight = 2;  // newer CPUs have more ports than one group has independent work for

  // sum + the low, or the high, 52 bits of the product of the low 52 bits of a and b
  static Longs multiply_add_low52(Longs sum, Longs a, Longs b) noexcept { return _mm512_madd52lo_epu64(sum, a, b); }
  static Longs multiply_add_high52(Longs sum, Longs a, Longs b) noexcept { return _mm512_madd52hi_epu64(sum, a, b); }
};

}  // namespace sluice::lanes
