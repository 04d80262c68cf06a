// Numbers modulo 2^130 - 5, one per 64-bit lane, as limbs of 44, 44 and 42 bits: for instruction sets that multiply
// 52-bit numbers (IFMA). A product's low 52 bits and its higher ones come from two instructions; what is above bit 52
// of a product counts 2^8 in the next limb (2^10 after the last one, which is two bits shorter).
//
// Bounds: limbs of a product are below 2^44, 2^44 + 2^9 and 2^42; a number that is to be multiplied is at most twice
// that. Factors are products or split texts; 20 times a limb of theirs is below 2^49. Every operand has 52 bits or
// less.
#pragma once

#include <cstdint>

namespace sluice::lanes {

template <class IsaType>
struct Radix44 {
  using Isa = IsaType;
  using Longs = typename Isa::Longs;
  static constexpr unsigned kLimbs = 3;

  struct Number {
    Longs limb[kLimbs];
  };
  struct Factor {
    Longs limb[kLimbs];
    Longs times20[kLimbs];  // 2^132 is 20. [0] is not used
  };

  // The number low + 2^64 high + 2^128 top.
  [[gnu::always_inline]] static inline Number number(Longs low, Longs high, Longs top) noexcept {
    return {{Isa::bit_and(low, mask44()),
             Isa::or_and(Isa::template shift_right<44>(low), Isa::template shift_left<20>(high), mask44()),
             Isa::bit_or(Isa::template shift_right<24>(high), Isa::template shift_left<40>(top))}};
  }

  static Number zero() noexcept { return {}; }

  // The sum of what is authenticated, for the Internet checksum, limb by limb, since they are there anyway. Modulo
  // 2^16 - 1, where 2^44 is 2^12 and 2^88 is 2^8: the last limb, of 40 bits here, goes with the first. Of 2^12 blocks,
  // more than a text of 2^16 bytes has, both stay below 2^61.
  class Sum {
   public:
    [[gnu::always_inline]] inline void clear() noexcept { first_ = second_ = Isa::broadcast64(0); }
    [[gnu::always_inline]] inline void add(Longs low, Longs high) noexcept {
      const Number block = number(low, high, Isa::broadcast64(0));
      first_ = Isa::add64(first_, Isa::add64(block.limb[0], Isa::template shift_left<8>(block.limb[2])));
      second_ = Isa::add64(second_, block.limb[1]);
    }
    [[gnu::always_inline]] inline void keep(Longs lanes) noexcept {
      first_ = Isa::bit_and(first_, lanes);
      second_ = Isa::bit_and(second_, lanes);
    }
    [[gnu::always_inline]] inline Longs total() const noexcept {
      const Longs folded =
          Isa::add64(Isa::bit_and(second_, Isa::broadcast64(0xffffffff)), Isa::template shift_right<32>(second_));
      return Isa::add64(first_, Isa::template shift_left<12>(folded));
    }

   private:
    Longs first_, second_;
  };

  // The block low + 2^64 high, and 2^128.
  [[gnu::always_inline]] static inline Number block(Longs low, Longs high) noexcept {
    return number(low, high, Isa::broadcast64(1));
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
      f.times20[i] = Isa::add64(Isa::template shift_left<4>(n.limb[i]), Isa::template shift_left<2>(n.limb[i]));
    }
    return f;
  }

  // Of r's words.
  [[gnu::always_inline]] static inline Factor factor(const Longs (&r)[4]) noexcept {
    return factor(number(Isa::bit_or(r[0], Isa::template shift_left<32>(r[1])),
                         Isa::bit_or(r[2], Isa::template shift_left<32>(r[3])), Isa::broadcast64(0)));
  }

  // n r + block
  [[gnu::always_inline]] static inline Number multiply_add(const Number& n, const Factor& r, Longs low,
                                                           Longs high) noexcept {
    return add(multiply(n, r), block(low, high));
  }

  [[gnu::always_inline]] static inline Number multiply(const Number& n, const Factor& f) noexcept {
    Longs low[kLimbs], high[kLimbs];
    for (unsigned i = 0; i < kLimbs; ++i) low[i] = high[i] = Isa::broadcast64(0);
    for (unsigned j = 0; j < kLimbs; ++j)
      for (unsigned i = 0; i < kLimbs; ++i) {
        const Longs by = i >= j ? f.limb[i - j] : f.times20[kLimbs + i - j];
        low[i] = Isa::multiply_add_low52(low[i], n.limb[j], by);
        high[i] = Isa::multiply_add_high52(high[i], n.limb[j], by);
      }
    Longs carry = Isa::add64(Isa::template shift_right<44>(low[0]), Isa::template shift_left<8>(high[0]));
    low[0] = Isa::bit_and(low[0], mask44());
    low[1] = Isa::add64(low[1], carry);
    carry = Isa::add64(Isa::template shift_right<44>(low[1]), Isa::template shift_left<8>(high[1]));
    low[1] = Isa::bit_and(low[1], mask44());
    low[2] = Isa::add64(low[2], carry);
    carry = Isa::add64(Isa::template shift_right<42>(low[2]), Isa::template shift_left<10>(high[2]));
    low[2] = Isa::bit_and(low[2], mask42());
    low[0] = Isa::add64(low[0], times5(carry));
    low[1] = Isa::add64(low[1], Isa::template shift_right<44>(low[0]));
    low[0] = Isa::bit_and(low[0], mask44());
    return {{low[0], low[1], low[2]}};
  }

  // A sum of up to eight products as if it were a product.
  [[gnu::always_inline]] static inline Number carried(Number n) noexcept {
    Longs* const h = n.limb;
    carry_up(h);
    h[0] = Isa::add64(h[0], times5(Isa::template shift_right<42>(h[2])));
    h[2] = Isa::bit_and(h[2], mask42());
    h[1] = Isa::add64(h[1], Isa::template shift_right<44>(h[0]));
    h[0] = Isa::bit_and(h[0], mask44());
    return n;
  }

  // The 128 low bits of a product's smallest representative.
  [[gnu::always_inline]] static inline void reduce(const Number& product, Longs& low, Longs& high) noexcept {
    const Number n = carried(product);  // if it carries out of the last limb, then that is zero
    Longs h[kLimbs] = {n.limb[0], n.limb[1], n.limb[2]};
    // h < 2^130. h + 5 reaches 2^130 if h is at least the modulus.
    Longs g[kLimbs] = {Isa::add64(h[0], Isa::broadcast64(5)), h[1], h[2]};
    carry_up(g);
    const Longs reaches = Isa::negative(Isa::template shift_right<42>(g[2]));
    for (unsigned i = 0; i < kLimbs; ++i) h[i] = Isa::select(reaches, g[i], h[i]);
    low = Isa::bit_or(h[0], Isa::template shift_left<44>(h[1]));
    high = Isa::bit_or(Isa::template shift_right<20>(h[1]), Isa::template shift_left<24>(h[2]));
  }

 private:
  static Longs mask44() noexcept { return Isa::broadcast64((uint64_t{1} << 44) - 1); }
  static Longs mask42() noexcept { return Isa::broadcast64((uint64_t{1} << 42) - 1); }
  static Longs times5(Longs a) noexcept { return Isa::add64(a, Isa::template shift_left<2>(a)); }

  static void carry_up(Longs* h) noexcept {
    for (unsigned i = 0; i < kLimbs - 1; ++i) {
      h[i + 1] = Isa::add64(h[i + 1], Isa::template shift_right<44>(h[i]));
      h[i] = Isa::bit_and(h[i], mask44());
    }
  }
};

}  // namespace sluice::lanes
