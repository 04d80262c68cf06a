// AVX-512 (F, BW, VL): 16 lanes of 32 bits, 8 lanes of 64 bits.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "dataplane/crypto/lanes/rounds.h"

namespace sluice::lanes {

struct Avx512 {
  // --- 32-bit lanes (ChaCha20) ---
  using Words = __m512i;
  static constexpr unsigned kWords = 16;
  static constexpr Rounds kRounds = Rounds::kInStep;
  static constexpr bool kWritesBehind = true;  // chacha20.h: registers enough to transpose between rounds

  static Words load(const uint32_t* words) noexcept { return _mm512_load_si512(words); }
  static void store(uint32_t* words, Words a) noexcept { _mm512_store_si512(words, a); }
  static Words broadcast(uint32_t word) noexcept { return _mm512_set1_epi32(static_cast<int>(word)); }
  static Words broadcast_from(const std::byte* word) noexcept {
    return _mm512_set1_epi32(static_cast<int>(word32(word)));
  }
  static Words ascending() noexcept { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
  // What rounds are made of, as assembly, because it has to stay in the order of the text: where g++ moves these
  // instructions, the ports get unequal shares, and rounds take an eighth longer (Cascade Lake).
  static Words add(Words a, Words b) noexcept {
    Words sum;
    asm volatile("vpaddd %2, %1, %0" : "=v"(sum) : "v"(a), "v"(b));
    return sum;
  }
  static Words bit_xor(Words a, Words b) noexcept {
    Words difference;
    asm volatile("vpxord %2, %1, %0" : "=v"(difference) : "v"(a), "v"(b));
    return difference;
  }
  template <int kBits>
  static Words rotate_left(Words a) noexcept {
    Words rotated;
    asm volatile("vprold %2, %1, %0" : "=v"(rotated) : "v"(a), "i"(kBits));
    return rotated;
  }

  // 16 keys of 8 words to 8 vectors of one word of every key.
  [[gnu::always_inline]] static inline void load_keys(const std::byte* const* keys, Words* out) noexcept {
    for (unsigned half = 0; half < 2; ++half) {  // keys 0-3 and 4-7, then 8-11 and 12-15
      Words rows[4];
      for (unsigned i = 0; i < 4; ++i)
        rows[i] =
            _mm512_inserti64x4(_mm512_castsi256_si512(row256(keys[8 * half + i])), row256(keys[8 * half + 4 + i]), 1);
      transpose_quarters(rows);
      for (unsigned i = 0; i < 4; ++i) out[4 * half + i] = rows[i];
    }
    for (unsigned i = 0; i < 4; ++i) {
      const Words first = out[i], second = out[4 + i];
      out[i] = _mm512_shuffle_i32x4(first, second, 0x88);
      out[4 + i] = _mm512_shuffle_i32x4(first, second, 0xdd);
    }
  }

  // The halves of 16 numbers of 64 bits.
  static void split(const uint64_t* longs, Words& low, Words& high) noexcept {
    const Words even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const Words first = _mm512_load_si512(longs), second = _mm512_load_si512(longs + 8);
    low = _mm512_permutex2var_epi32(first, even, second);
    high = _mm512_permutex2var_epi32(first, _mm512_add_epi32(even, _mm512_set1_epi32(1)), second);
  }

  // From 16 vectors of one word of every block to 16 blocks: in two steps, each of four independent parts.
  [[gnu::always_inline]] static inline void transpose_blocks(Words* state) noexcept {
#pragma GCC unroll 4
    for (unsigned i = 0; i < 16; i += 4) transpose_quarters(state + i);
#pragma GCC unroll 4
    for (unsigned i = 0; i < 4; ++i) transpose_rows(state[i], state[4 + i], state[8 + i], state[12 + i]);
  }

  // The first step: in each 128-bit quarter of four vectors, 4 x 4 words.
  [[gnu::always_inline]] static inline void transpose_quarters(Words* v) noexcept {
    const Words a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
    const Words c = _mm512_unpacklo_epi32(v[2], v[3]), d = _mm512_unpackhi_epi32(v[2], v[3]);
    v[0] = _mm512_unpacklo_epi64(a, c);
    v[1] = _mm512_unpackhi_epi64(a, c);
    v[2] = _mm512_unpacklo_epi64(b, d);
    v[3] = _mm512_unpackhi_epi64(b, d);
  }

  // The second step for the blocks i, 4 + i, 8 + i and 12 + i, which are added to the texts.
  [[gnu::always_inline]] static inline void xor_quarter(const Words* state, unsigned i,
                                                        std::byte* const* text) noexcept {
    Words blocks[4] = {state[i], state[4 + i], state[8 + i], state[12 + i]};
    transpose_rows(blocks[0], blocks[1], blocks[2], blocks[3]);
    for (unsigned k = 0; k < 4; ++k) xor_block(text[4 * k + i], blocks + k);
  }

  [[gnu::always_inline]] static inline void xor_block(std::byte* text, const Words* block) noexcept {
    _mm512_storeu_si512(text, _mm512_xor_si512(*block, _mm512_loadu_si512(text)));
  }
  [[gnu::always_inline]] static inline void xor_partly(std::byte* text, const Words* block, uint32_t size) noexcept {
    if (size == 64) return xor_block(text, block);
    const __mmask64 bytes = _bzhi_u64(~uint64_t{0}, size);
    _mm512_mask_storeu_epi8(text, bytes, _mm512_xor_si512(*block, _mm512_maskz_loadu_epi8(bytes, text)));
  }

  // --- 64-bit lanes (Poly1305) ---
  using Longs = __m512i;
  static constexpr unsigned kLongs = 8;
  static constexpr unsigned kSumsInFlight = 1;

  static Longs load(const uint64_t* longs) noexcept { return _mm512_loadu_si512(longs); }
  static void store(uint64_t* longs, Longs a) noexcept { _mm512_storeu_si512(longs, a); }
  static Longs broadcast64(uint64_t a) noexcept { return _mm512_set1_epi64(static_cast<long long>(a)); }
  static Longs add64(Longs a, Longs b) noexcept { return _mm512_add_epi64(a, b); }
  static Longs negative(Longs a) noexcept { return _mm512_sub_epi64(_mm512_setzero_si512(), a); }
  static Longs bit_and(Longs a, Longs b) noexcept { return _mm512_and_si512(a, b); }
  static Longs bit_or(Longs a, Longs b) noexcept { return _mm512_or_si512(a, b); }
  static Longs or_and(Longs a, Longs b, Longs mask) noexcept {  // (a | b) & mask
    return _mm512_ternarylogic_epi64(a, b, mask, 0xa8);
  }
  static Longs select(Longs mask, Longs a, Longs b) noexcept {  // every bit: a where mask is 1
    return _mm512_ternarylogic_epi64(mask, a, b, 0xca);
  }
  template <unsigned kBits>
  static Longs shift_right(Longs a) noexcept {
    return _mm512_srli_epi64(a, kBits);
  }
  template <unsigned kBits>
  static Longs shift_left(Longs a) noexcept {
    return _mm512_slli_epi64(a, kBits);
  }
  static Longs multiply32(Longs a, Longs b) noexcept { return _mm512_mul_epu32(a, b); }  // the low halves

  // Words to 64-bit lanes; in the second form lane i takes the word of number lanes[i].
  static Longs widen(const uint32_t* words) noexcept {
    return _mm512_cvtepu32_epi64(row256(reinterpret_cast<const std::byte*>(words)));
  }
  static Longs widen(const uint32_t* words, const uint32_t* lanes) noexcept {
    return _mm512_cvtepu32_epi64(_mm256_permutevar8x32_epi32(row256(reinterpret_cast<const std::byte*>(words)),
                                                             row256(reinterpret_cast<const std::byte*>(lanes))));
  }

  // Lane by lane, low before high.
  static void store_pairs(std::byte* to, Longs low, Longs high) noexcept {
    const Longs first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    _mm512_storeu_si512(to, _mm512_permutex2var_epi64(low, first, high));
    _mm512_storeu_si512(to + 64, _mm512_permutex2var_epi64(low, _mm512_add_epi64(first, _mm512_set1_epi64(4)), high));
  }

  // Up to 16 bytes, and zeros behind them.
  static void copy_padded(std::byte* to, const std::byte* from, size_t size) noexcept {
    const auto bytes = static_cast<__mmask16>(_bzhi_u32(0xffff, static_cast<uint32_t>(size)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_maskz_loadu_epi8(bytes, from));
  }

  // 16 bytes for every lane, as two 64-bit numbers.
  [[gnu::always_inline]] static inline void load_blocks(const std::byte* const* from, ptrdiff_t offset, Longs& low,
                                                        Longs& high) noexcept {
    const Longs even = four_blocks(from, offset), odd = four_blocks(from + 1, offset);
    low = _mm512_unpacklo_epi64(even, odd);
    high = _mm512_unpackhi_epi64(even, odd);
  }

 private:
  // 4 x 4 quarters.
  [[gnu::always_inline]] static inline void transpose_rows(Words& p, Words& q, Words& r, Words& s) noexcept {
    const Words a = _mm512_shuffle_i32x4(p, q, 0x88), b = _mm512_shuffle_i32x4(p, q, 0xdd);
    const Words c = _mm512_shuffle_i32x4(r, s, 0x88), d = _mm512_shuffle_i32x4(r, s, 0xdd);
    p = _mm512_shuffle_i32x4(a, c, 0x88);
    q = _mm512_shuffle_i32x4(b, d, 0x88);
    r = _mm512_shuffle_i32x4(a, c, 0xdd);
    s = _mm512_shuffle_i32x4(b, d, 0xdd);
  }

  static uint32_t word32(const std::byte* from) noexcept {
    uint32_t word;
    __builtin_memcpy(&word, from, sizeof word);
    return word;
  }
  static __m256i row256(const std::byte* from) noexcept {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  static __m128i block(const std::byte* from) noexcept {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  }

  [[gnu::always_inline]] static inline __m512i four_blocks(const std::byte* const* from, ptrdiff_t offset) noexcept {
    __m512i blocks = _mm512_castsi128_si512(block(from[0] + offset));
    blocks = _mm512_inserti32x4(blocks, block(from[2] + offset), 1);
    blocks = _mm512_inserti32x4(blocks, block(from[4] + offset), 2);
    return _mm512_inserti32x4(blocks, block(from[6] + offset), 3);
  }
};

}  // namespace sluice::lanes
