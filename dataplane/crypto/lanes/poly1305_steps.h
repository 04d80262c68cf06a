// What authenticating a group of packets begins and ends with, whichever way its lanes are used: keys and tags.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "dataplane/crypto/lanes/kernel.h"

namespace sluice::lanes {

// The sum of the 32-bit words that every lane authenticates, for the Internet checksum.
template <class Isa>
class SumOfWords {
 public:
  using Longs = typename Isa::Longs;
  [[gnu::always_inline]] inline void clear() noexcept { sum_ = Isa::broadcast64(0); }
  [[gnu::always_inline]] inline void add(Longs low, Longs high) noexcept {
    sum_ = Isa::add64(sum_, Isa::add64(add_halves(low), add_halves(high)));
  }
  [[gnu::always_inline]] inline void keep(Longs lanes) noexcept { sum_ = Isa::bit_and(sum_, lanes); }
  [[gnu::always_inline]] inline Longs total() const noexcept { return sum_; }

 private:
  static Longs add_halves(Longs a) noexcept {
    return Isa::add64(Isa::bit_and(a, Isa::broadcast64(0xffffffff)), Isa::template shift_right<32>(a));
  }
  Longs sum_;
};

// Such a sum, clear() first, or, where nobody wants it, nothing.
template <class Isa, class Sum, bool kAddUp>
class LaneSums {
 public:
  using Longs = typename Isa::Longs;
  [[gnu::always_inline]] inline void clear() noexcept {
    if constexpr (kAddUp) sum_.clear();
  }
  [[gnu::always_inline]] inline void add(Longs low, Longs high) noexcept {
    if constexpr (kAddUp) sum_.add(low, high);
  }
  [[gnu::always_inline]] inline void keep(Longs lanes) noexcept {
    if constexpr (kAddUp) sum_.keep(lanes);
  }
  [[gnu::always_inline]] inline void store(uint64_t* sums) const noexcept {
    if constexpr (kAddUp) Isa::store(sums, sum_.total());
  }

 private:
  struct None {};
  [[no_unique_address]] std::conditional_t<kAddUp, Sum, None> sum_;
};

template <class Isa>
struct Poly1305Steps {
  using Longs = typename Isa::Longs;
  static constexpr unsigned kLanes = Isa::kLongs;
  static constexpr size_t kBlock = 16;

  static constexpr size_t min(size_t a, size_t b) noexcept { return a < b ? a : b; }
  static constexpr size_t max(size_t a, size_t b) noexcept { return a > b ? a : b; }

  // Of the text, padded with zeros. What is authenticated has one block more, with the lengths of the additional data
  // (none) and of the text.
  static constexpr size_t text_blocks(size_t size) noexcept { return (size + kBlock - 1) / kBlock; }

  // The words of every lane's r, where packets have 2^parts_log2 lanes each.
  struct R {
    Longs word[4];
  };
  [[gnu::always_inline]] static inline R read_r(const Burst& burst, size_t first, unsigned parts_log2 = 0) noexcept {
    R r;
    for (unsigned i = 0; i < 4; ++i)
      r.word[i] =
          Isa::bit_and(key_word(burst, i, first, parts_log2), Isa::broadcast64(i == 0 ? 0x0fffffff : 0x0ffffffc));
    return r;
  }

  // The packets' tags from the low 128 bits of the products in each packet's first lane. Lanes without a packet write
  // behind the last one's.
  [[gnu::always_inline]] static inline void write_tags(Burst& burst, size_t first, Longs low, Longs high,
                                                       unsigned parts_log2 = 0) noexcept {
    add_s(burst, first, parts_log2, low, high);
    if (parts_log2 == 0) return Isa::store_pairs(burst.tags[first], low, high);
    alignas(64) std::byte tags[kLanes][kBlock];
    Isa::store_pairs(tags[0], low, high);
    for (size_t p = 0; p < kLanes >> parts_log2; ++p)
      __builtin_memcpy(burst.tags[first + p], tags[p << parts_log2], kBlock);
  }

 private:
  // By parts_log2: the packet of every lane.
  static constexpr uint32_t kPacketOfLane[4][8] = {{}, {0, 0, 1, 1, 2, 2, 3, 3}, {0, 0, 0, 0, 1, 1, 1, 1}, {}};

  [[gnu::always_inline]] static inline Longs key_word(const Burst& burst, unsigned i, size_t first,
                                                      unsigned parts_log2) noexcept {
    const uint32_t* const words = burst.one_time_keys[i] + first;
    return parts_log2 == 0 ? Isa::widen(words) : Isa::widen(words, kPacketOfLane[parts_log2]);
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
