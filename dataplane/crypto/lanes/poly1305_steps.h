// What authenticating a group of lanes is made of, whatever the lanes' lengths: keys to factors, blocks to numbers,
// many blocks at a time, products to tags.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/crypto/lanes/erase.h"
#include "dataplane/crypto/lanes/kernel.h"

namespace sluice::lanes {

template <class Field>
struct Poly1305Steps {
  using Isa = typename Field::Isa;
  using Longs = typename Isa::Longs;
  using Number = typename Field::Number;
  using Factor = typename Field::Factor;
  static constexpr unsigned kLanes = Isa::kLongs;
  static constexpr size_t kBlock = 16;
  // Blocks per lane from which advance_wide() is quicker, what it prepares included.
  static constexpr size_t kLong = 40;

  // Of the text, padded with zeros, and one with the lengths of the additional data (none) and of the text.
  static constexpr size_t blocks_of(size_t size) noexcept { return (size + kBlock - 1) / kBlock + 1; }

  // Every lane's r, where a packet has 2^parts_log2 lanes.
  [[gnu::always_inline]] static inline Number read_r(const Burst& burst, size_t first, unsigned parts_log2) noexcept {
    const auto word = [&](unsigned i) { return key_word(burst, i, first, parts_log2); };
    const Longs low = Isa::bit_or(word(0), Isa::template shift_left<32>(word(1)));
    const Longs high = Isa::bit_or(word(2), Isa::template shift_left<32>(word(3)));
    return Field::number(Isa::bit_and(low, Isa::broadcast64(0x0ffffffc0fffffff)),
                         Isa::bit_and(high, Isa::broadcast64(0x0ffffffc0ffffffc)), Isa::broadcast64(0));
  }

  // The blocks at `offset` from the lanes' pointers.
  [[gnu::always_inline]] static inline Number load(const std::byte* const* from, ptrdiff_t offset) noexcept {
    Longs low, high;
    Isa::load_blocks(from, offset, low, high);
    return Field::number(low, high, Isa::broadcast64(1));
  }

  [[gnu::always_inline]] static inline Number lengths(Longs sizes) noexcept {
    return Field::number(Isa::broadcast64(0), sizes, Isa::broadcast64(1));
  }

  [[gnu::always_inline]] static inline Number multiply_add(const Number& n, const Factor& r, const Number& m) noexcept {
    return Field::add(Field::multiply(n, r), m);
  }

  // So many times Field::kWide blocks, `stride` apart.
  [[gnu::noinline]] static void advance_wide(Number& n, const Factor& r, const std::byte* const* from, ptrdiff_t offset,
                                             ptrdiff_t stride, size_t times) noexcept {
    typename Field::WideFactor wide;
    Field::set_wide_factor(wide, r);
    Number sum = n;
    for (size_t i = 0; i < times; ++i) {
      asm volatile("" : : "r"(&wide) : "memory");  // no copies of the factors: they are operands in memory
      sum = Field::wide_step(sum, wide, [&](unsigned block, Longs& low, Longs& high) {
        Isa::load_blocks(from, offset + block * stride, low, high);
      });
      offset += Field::kWide * stride;
    }
    n = sum;
    erase(wide);
  }

  // The tags of `packets` packets, each of whose first lane has the product.
  [[gnu::always_inline]] static inline void write_tags(Burst& burst, size_t first, unsigned parts_log2, size_t packets,
                                                       const Number& product) noexcept {
    Longs low, high;
    Field::reduce(product, low, high);
    add_s(burst, first, parts_log2, low, high);
    alignas(64) uint64_t lows[kLanes], highs[kLanes];
    Isa::store(lows, low);
    Isa::store(highs, high);
    for (size_t p = 0; p < packets; ++p) {
      __builtin_memcpy(burst.tags[first + p], &lows[p << parts_log2], 8);
      __builtin_memcpy(burst.tags[first + p] + 8, &highs[p << parts_log2], 8);
    }
  }

 private:
  // By parts_log2: the packet of every lane.
  static constexpr uint32_t kPacketOfLane[4][8] = {
      {0, 1, 2, 3, 4, 5, 6, 7}, {0, 0, 1, 1, 2, 2, 3, 3}, {0, 0, 0, 0, 1, 1, 1, 1}, {}};

  [[gnu::always_inline]] static inline Longs key_word(const Burst& burst, unsigned i, size_t first,
                                                      unsigned parts_log2) noexcept {
    return Isa::widen(burst.one_time_keys[i] + first, kPacketOfLane[parts_log2]);
  }

  // Adds the keys' second halves, modulo 2^128.
  [[gnu::always_inline]] static inline void add_s(const Burst& burst, size_t first, unsigned parts_log2, Longs& low,
                                                  Longs& high) noexcept {
    const Longs mask = Isa::broadcast64(0xffffffff);
    const auto add_word = [&](Longs word, unsigned i) {
      return Isa::add64(word, key_word(burst, i, first, parts_log2));
    };
    const auto carry = [](Longs word) { return Isa::template shift_right<32>(word); };
    const Longs a = add_word(Isa::bit_and(low, mask), 4);
    const Longs b = Isa::add64(add_word(carry(low), 5), carry(a));
    const Longs c = Isa::add64(add_word(Isa::bit_and(high, mask), 6), carry(b));
    const Longs d = Isa::add64(add_word(carry(high), 7), carry(c));
    low = Isa::bit_or(Isa::bit_and(a, mask), Isa::template shift_left<32>(b));
    high = Isa::bit_or(Isa::bit_and(c, mask), Isa::template shift_left<32>(d));
  }
};

}  // namespace sluice::lanes
