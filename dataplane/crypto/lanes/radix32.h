// Numbers modulo 2^130 - 5, one per 64-bit lane, in words of 32 bits, for instruction sets whose widest product is that
// of two 32-bit numbers. Only r itself is multiplied by, never a power of it: RFC 8439 clears the top four bits of r's
// words, so that sums of products fit, and the low two of all but the first: what counts 2^128 times such a word is 5/4
// of the word (2^130 is 5), a whole number. Against limbs of 26 bits (radix26.h) that saves a quarter of the work: a
// block is split by words, and the words of a number need not be masked, since products take the low 32 bits anyway.
//
// Bounds: r's words are below 2^28, 5/4 of them below 1.25 * 2^28, a number's top is at most 5. Sums are below
//   word 0: (1 + 3 * 1.25) 2^60, words 1 and 2: less than that, word 3: (4 + 5 + 1) 2^60
// and a little, hence below 2^64. Carried, word 3 has less than 2^34 + 2^31, which makes the next top at most 4.
#pragma once

#include <cstdint>

#include "dataplane/crypto/lanes/poly1305_steps.h"

namespace sluice::lanes {

template <class IsaType>
struct Radix32 {
  using Isa = IsaType;
  using Longs = typename Isa::Longs;
  static constexpr unsigned kWords = 4;

  struct Number {
    Longs limb[kWords + 1];  // words, with anything in their upper halves; top
  };
  struct Factor {
    Longs word[kWords];
    Longs wrapped[kWords];  // 5/4 of it: at 2^128. [0] is not used
  };

  using Sum = SumOfWords<Isa>;

  static Number zero() noexcept { return {}; }

  // Of r's words.
  [[gnu::always_inline]] static inline Factor factor(const Longs (&r)[kWords]) noexcept {
    Factor f;
    for (unsigned i = 0; i < kWords; ++i) {
      f.word[i] = r[i];
      f.wrapped[i] = Isa::add64(r[i], Isa::template shift_right<2>(r[i]));
    }
    return f;
  }

  // The block low + 2^64 high, and 2^128.
  [[gnu::always_inline]] static inline Number block(Longs low, Longs high) noexcept {
    return {{low, upper(low), high, upper(high), Isa::broadcast64(1)}};
  }

  // n r + block
  [[gnu::always_inline]] static inline Number multiply_add(const Number& n, const Factor& r, Longs low,
                                                           Longs high) noexcept {
    return product_and({{lower(low), upper(low), lower(high), Isa::bit_or(upper(high), Isa::broadcast64(kTop))}}, n, r);
  }
  [[gnu::always_inline]] static inline Number multiply(const Number& n, const Factor& r) noexcept {
    return product_and({}, n, r);
  }

  // The 128 low bits of a product's smallest representative.
  [[gnu::always_inline]] static inline void reduce(const Number& product, Longs& low, Longs& high) noexcept {
    Longs h[kWords];
    for (unsigned i = 0; i < kWords; ++i) h[i] = lower(product.limb[i]);
    // h < 2^130 + 2^128. h + 5 reaches 2^130 if h is at least the modulus.
    Longs carry = Isa::broadcast64(5);
    for (unsigned i = 0; i < kWords; ++i) carry = upper(Isa::add64(h[i], carry));
    const Longs reaches = Isa::template shift_right<2>(Isa::add64(product.limb[kWords], carry));
    h[0] = Isa::add64(h[0], times5(reaches));
    carry_up(h);
    low = Isa::bit_or(lower(h[0]), Isa::template shift_left<32>(h[1]));
    high = Isa::bit_or(lower(h[2]), Isa::template shift_left<32>(h[3]));
  }

 private:
  struct Sums {
    Longs word[kWords];
  };
  static constexpr uint64_t kTop = uint64_t{1} << 32;  // in the last word

  [[gnu::always_inline]] static inline Number product_and(Sums sums, const Number& n, const Factor& r) noexcept {
    Longs* const d = sums.word;
    for (unsigned j = 0; j < kWords; ++j)
      for (unsigned i = 0; i < kWords; ++i)
        d[i] = Isa::add64(d[i], Isa::multiply32(n.limb[j], i >= j ? r.word[i - j] : r.wrapped[kWords + i - j]));
    const Longs top = n.limb[kWords];
    for (unsigned i = 1; i < kWords; ++i) d[i] = Isa::add64(d[i], Isa::multiply32(top, r.wrapped[i]));
    d[3] = Isa::add64(d[3], Isa::template shift_left<32>(Isa::multiply32(top, r.word[0])));
    d[0] = Isa::add64(d[0], times5(Isa::template shift_right<34>(d[3])));  // 2^130 is 5
    d[3] = Isa::bit_and(d[3], Isa::broadcast64(4 * kTop - 1));
    carry_up(d);
    return {{d[0], d[1], d[2], d[3], upper(d[3])}};
  }

  [[gnu::always_inline]] static inline void carry_up(Longs* words) noexcept {
    for (unsigned i = 1; i < kWords; ++i) words[i] = Isa::add64(words[i], upper(words[i - 1]));
  }
  static Longs lower(Longs a) noexcept { return Isa::bit_and(a, Isa::broadcast64(0xffffffff)); }
  static Longs upper(Longs a) noexcept { return Isa::template shift_right<32>(a); }
  static Longs times5(Longs a) noexcept { return Isa::add64(a, Isa::template shift_left<2>(a)); }
};

}  // namespace sluice::lanes
