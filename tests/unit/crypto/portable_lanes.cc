#include "tests/unit/crypto/portable_lanes.h"

#include <cstring>
#include <utility>

#include "dataplane/crypto/lanes/kernel_text.h"
#include "dataplane/crypto/lanes/radix26.h"
#include "dataplane/crypto/lanes/radix32.h"
#include "dataplane/crypto/lanes/radix44.h"

namespace sluice::test {
namespace {

__extension__ using uint128 = unsigned __int128;

// Shaped as AVX-512 is.
struct Portable {
  struct Words {
    uint32_t lane[16];
  };
  static constexpr unsigned kWords = 16;
  static constexpr bool kWritesBehind = false;
  static constexpr lanes::Rounds kRounds = lanes::Rounds::kStaggered;
  static constexpr unsigned kSumsInFlight = 2;

  template <class Function>
  static Words each_word(Function f) {
    Words out;
    for (unsigned i = 0; i < kWords; ++i) out.lane[i] = f(i);
    return out;
  }
  static Words load(const uint32_t* words) {
    return each_word([=](unsigned i) { return words[i]; });
  }
  static void store(uint32_t* words, const Words& a) { std::memcpy(words, a.lane, sizeof a.lane); }
  static Words broadcast(uint32_t word) {
    return each_word([=](unsigned) { return word; });
  }
  static Words broadcast_from(const std::byte* word) { return broadcast(word_at(word)); }
  static Words ascending() {
    return each_word([](unsigned i) { return i; });
  }
  static Words add(const Words& a, const Words& b) {
    return each_word([&](unsigned i) { return a.lane[i] + b.lane[i]; });
  }
  static Words bit_xor(const Words& a, const Words& b) {
    return each_word([&](unsigned i) { return a.lane[i] ^ b.lane[i]; });
  }
  template <int kBits>
  static Words rotate_left(const Words& a) {
    return each_word([&](unsigned i) { return a.lane[i] << kBits | a.lane[i] >> (32 - kBits); });
  }
  static void load_keys(const std::byte* const* keys, Words* out) {
    for (unsigned word = 0; word < 8; ++word)
      out[word] = each_word([=](unsigned i) { return word_at(keys[i] + 4 * word); });
  }
  static void split(const uint64_t* longs, Words& low, Words& high) {
    low = each_word([=](unsigned i) { return static_cast<uint32_t>(longs[i]); });
    high = each_word([=](unsigned i) { return static_cast<uint32_t>(longs[i] >> 32); });
  }
  static void transpose_blocks(Words* state) {
    for (unsigned row = 0; row < kWords; ++row)
      for (unsigned column = 0; column < row; ++column) std::swap(state[row].lane[column], state[column].lane[row]);
  }
  static void xor_block(std::byte* text, const Words* block) { xor_partly(text, block, sizeof *block); }
  static void xor_partly(std::byte* text, const Words* block, uint32_t size) {
    for (uint32_t at = 0; at < size; ++at) text[at] ^= static_cast<std::byte>(block->lane[at / 4] >> (8 * (at % 4)));
  }

  struct Longs {
    uint64_t lane[8];
  };
  static constexpr unsigned kLongs = 8;

  template <class Function>
  static Longs each_long(Function f) {
    Longs out;
    for (unsigned i = 0; i < kLongs; ++i) out.lane[i] = f(i);
    return out;
  }
  static Longs load(const uint64_t* longs) {
    return each_long([=](unsigned i) { return longs[i]; });
  }
  static void store(uint64_t* longs, const Longs& a) { std::memcpy(longs, a.lane, sizeof a.lane); }
  static Longs broadcast64(uint64_t a) {
    return each_long([=](unsigned) { return a; });
  }
  static Longs add64(const Longs& a, const Longs& b) {
    return each_long([&](unsigned i) { return a.lane[i] + b.lane[i]; });
  }
  static Longs negative(const Longs& a) {
    return each_long([&](unsigned i) { return uint64_t{0} - a.lane[i]; });
  }
  static Longs bit_and(const Longs& a, const Longs& b) {
    return each_long([&](unsigned i) { return a.lane[i] & b.lane[i]; });
  }
  static Longs bit_or(const Longs& a, const Longs& b) {
    return each_long([&](unsigned i) { return a.lane[i] | b.lane[i]; });
  }
  static Longs or_and(const Longs& a, const Longs& b, const Longs& mask) { return bit_and(bit_or(a, b), mask); }
  static Longs select(const Longs& mask, const Longs& a, const Longs& b) {
    return each_long([&](unsigned i) { return (mask.lane[i] & a.lane[i]) | (~mask.lane[i] & b.lane[i]); });
  }
  template <unsigned kBits>
  static Longs shift_right(const Longs& a) {
    return each_long([&](unsigned i) { return a.lane[i] >> kBits; });
  }
  template <unsigned kBits>
  static Longs shift_left(const Longs& a) {
    return each_long([&](unsigned i) { return a.lane[i] << kBits; });
  }
  static Longs multiply32(const Longs& a, const Longs& b) {
    return each_long([&](unsigned i) { return (a.lane[i] & 0xffffffff) * (b.lane[i] & 0xffffffff); });
  }
  static Longs multiply_add_low52(const Longs& sum, const Longs& a, const Longs& b) {
    return each_long(
        [&](unsigned i) { return sum.lane[i] + static_cast<uint64_t>(product52(a.lane[i], b.lane[i]) & kMask52); });
  }
  static Longs multiply_add_high52(const Longs& sum, const Longs& a, const Longs& b) {
    return each_long(
        [&](unsigned i) { return sum.lane[i] + static_cast<uint64_t>(product52(a.lane[i], b.lane[i]) >> 52); });
  }
  static Longs widen(const uint32_t* words) {
    return each_long([=](unsigned i) { return uint64_t{words[i]}; });
  }
  static Longs widen(const uint32_t* words, const uint32_t* lanes) {
    return each_long([=](unsigned i) { return uint64_t{words[lanes[i]]}; });
  }
  static void store_pairs(std::byte* to, const Longs& low, const Longs& high) {
    for (unsigned i = 0; i < kLongs; ++i) {
      std::memcpy(to + 16 * i, &low.lane[i], 8);
      std::memcpy(to + 16 * i + 8, &high.lane[i], 8);
    }
  }
  static void copy_padded(std::byte* to, const std::byte* from, size_t size) {
    std::memset(to, 0, 16);
    std::memcpy(to, from, size);
  }
  static void load_blocks(const std::byte* const* from, ptrdiff_t offset, Longs& low, Longs& high) {
    for (unsigned i = 0; i < kLongs; ++i) {
      std::memcpy(&low.lane[i], from[i] + offset, 8);
      std::memcpy(&high.lane[i], from[i] + offset + 8, 8);
    }
  }

 private:
  static constexpr uint64_t kMask52 = (uint64_t{1} << 52) - 1;
  static uint128 product52(uint64_t a, uint64_t b) { return uint128{a & kMask52} * (b & kMask52); }
  static uint32_t word_at(const std::byte* from) {
    uint32_t word;
    std::memcpy(&word, from, sizeof word);
    return word;
  }
};

}  // namespace

constinit const lanes::Kernel kPortableRadix26 = lanes::kKernel<lanes::Radix32<Portable>, lanes::Radix26<Portable>>;
constinit const lanes::Kernel kPortableRadix44 = lanes::kKernel<lanes::Radix44<Portable>>;

}  // namespace sluice::test
