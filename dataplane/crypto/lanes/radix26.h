// Numbers modulo 2^130 - 5, one per 64-bit lane, as five limbs of 26 bits: for instruction sets whose widest product is
// that of two 32-bit numbers.
//
// Bounds: the limbs of a product are below 2^26 + 2^13. A number that is to be multiplied may have limbs below 2^28, a
// factor's are below 2^27; then each sum of five products, one or more of them times 5, is below 2^61.
#pragma once

#include <cstdint>

namespace sluice::lanes {

template <class IsaType>
struct Radix26 {
  using Isa = IsaType;
  using Longs = typename Isa::Longs;
  static constexpr unsigned kLimbs = 5;

  struct Number {
    Longs limb[kLimbs];
  };
  struct Factor {
    Longs limb[kLimbs];
    Longs times5[kLimbs];  // [0] is not used
  };

  // The number low + 2^64 high + 2^128 top.
  [[gnu::always_inline]] static inline Number number(Longs low, Longs high, Longs top) noexcept {
    const Longs mask = limb_mask();
    return {{Isa::bit_and(low, mask), Isa::bit_and(Isa::template shift_right<26>(low), mask),
             Isa::or_and(Isa::template shift_right<52>(low), Isa::template shift_left<12>(high), mask),
             Isa::bit_and(Isa::template shift_right<14>(high), mask),
             Isa::bit_or(Isa::template shift_right<40>(high), Isa::template shift_left<24>(top))}};
  }

  [[gnu::always_inline]] static inline Number add(const Number& a, const Number& b) noexcept {
    Number sum;
    for (unsigned i = 0; i < kLimbs; ++i) sum.limb[i] = Isa::add64(a.limb[i], b.limb[i]);
    return sum;
  }

  [[gnu::always_inline]] static inline Factor factor(const Number& n) noexcept {
    Factor f;
    for (unsigned i = 0; i < kLimbs; ++i) {
      f.limb[i] = n.limb[i];
      f.times5[i] = times5(n.limb[i]);
    }
    return f;
  }

  [[gnu::always_inline]] static inline Number multiply(const Number& n, const Factor& f) noexcept {
    Number sums;
    for (unsigned i = 0; i < kLimbs; ++i) sums.limb[i] = Isa::multiply32(n.limb[0], f.limb[i]);
    for (unsigned j = 1; j < kLimbs; ++j)
      for (unsigned i = 0; i < kLimbs; ++i)
        sums.limb[i] =
            Isa::add64(sums.limb[i], Isa::multiply32(n.limb[j], i >= j ? f.limb[i - j] : f.times5[kLimbs + i - j]));
    return carried(sums);
  }

  // The 128 low bits of the number's smallest representative. Its limbs are those of a product.
  [[gnu::always_inline]] static inline void reduce(const Number& n, Longs& low, Longs& high) noexcept {
    Longs h[kLimbs];
    for (unsigned i = 0; i < kLimbs; ++i) h[i] = n.limb[i];
    for (unsigned pass = 0; pass < 2; ++pass) {
      for (unsigned i = 0; i < kLimbs - 1; ++i) carry(h[i], h[i + 1]);
      carry_around(h[kLimbs - 1], h[0]);
    }
    for (unsigned i = 0; i < kLimbs - 1; ++i) carry(h[i], h[i + 1]);
    // h < 2^130. h + 5 reaches 2^130 if h is at least the modulus.
    Longs g[kLimbs];
    for (unsigned i = 0; i < kLimbs; ++i) g[i] = h[i];
    g[0] = Isa::add64(g[0], Isa::broadcast64(5));
    for (unsigned i = 0; i < kLimbs - 1; ++i) carry(g[i], g[i + 1]);
    const Longs reaches = Isa::negative(Isa::template shift_right<26>(g[kLimbs - 1]));
    for (unsigned i = 0; i < kLimbs; ++i) h[i] = Isa::select(reaches, g[i], h[i]);
    low = Isa::bit_or(h[0], Isa::bit_or(Isa::template shift_left<26>(h[1]), Isa::template shift_left<52>(h[2])));
    high = Isa::bit_or(Isa::template shift_right<12>(h[2]),
                       Isa::bit_or(Isa::template shift_left<14>(h[3]), Isa::template shift_left<40>(h[4])));
  }

 private:
  static Longs limb_mask() noexcept { return Isa::broadcast64((uint64_t{1} << 26) - 1); }
  static Longs times5(Longs a) noexcept { return Isa::add64(a, Isa::template shift_left<2>(a)); }

  static void carry(Longs& from, Longs& to) noexcept {
    to = Isa::add64(to, Isa::template shift_right<26>(from));
    from = Isa::bit_and(from, limb_mask());
  }
  static void carry_around(Longs& from, Longs& to) noexcept {  // 2^130 is 5
    to = Isa::add64(to, times5(Isa::template shift_right<26>(from)));
    from = Isa::bit_and(from, limb_mask());
  }

  // Sums below 2^62 to limbs below 2^26, but for the second: below 2^26 + 2^13.
  [[gnu::always_inline]] static inline Number carried(Number n) noexcept {
    Longs* const h = n.limb;
    for (unsigned i = 0; i < kLimbs - 1; ++i) carry(h[i], h[i + 1]);
    carry_around(h[kLimbs - 1], h[0]);
    carry(h[0], h[1]);
    return n;
  }
};

}  // namespace sluice::lanes
