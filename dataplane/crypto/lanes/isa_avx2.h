// AVX2: 8 lanes of 32 bits, 4 lanes of 64 bits.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "dataplane/crypto/lanes/rounds.h"

namespace sluice::lanes {

struct Avx2 {
  // --- 32-bit lanes (ChaCha20) ---
  using Words = __m256i;
  static constexpr unsigned kWords = 8;
  static constexpr bool kWritesBehind = false;
  static constexpr Rounds kRounds = Rounds::kInPairs;  // 16 registers: a state leaves none for temporaries

  static Words load(const uint32_t* words) noexcept { return load256(words); }
  static void store(uint32_t* words, Words a) noexcept { store256(words, a); }
  static Words broadcast(uint32_t word) noexcept { return _mm256_set1_epi32(static_cast<int>(word)); }
  static Words broadcast_from(const std::byte* word) noexcept {
    uint32_t value;
    __builtin_memcpy(&value, word, sizeof value);
    return broadcast(value);
  }
  static Words ascending() noexcept { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
  static Words add(Words a, Words b) noexcept { return _mm256_add_epi32(a, b); }
  // Words a, b, c and d of two quarter rounds (RFC 8439, section 2.1).
  [[gnu::always_inline]] static inline void two_quarter_rounds(Words& a0, Words& b0, Words& c0, Words& d0, Words& a1,
                                                               Words& b1, Words& c1, Words& d1) noexcept {
    half_quarter_rounds<12>(kLeft16, a0, b0, c0, d0, a1, b1, c1, d1);
    half_quarter_rounds<7>(kLeft8, a0, b0, c0, d0, a1, b1, c1, d1);
  }

  // 8 keys of 8 words to 8 vectors of one word of every key.
  [[gnu::always_inline]] static inline void load_keys(const std::byte* const* keys, Words* out) noexcept {
    for (unsigned i = 0; i < kWords; ++i) out[i] = load256(keys[i]);
    transpose(out);
  }

  // The halves of 8 numbers of 64 bits.
  static void split(const uint64_t* longs, Words& low, Words& high) noexcept {
    const __m256 first = _mm256_castsi256_ps(load256(longs)), second = _mm256_castsi256_ps(load256(longs + 4));
    low = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(first, second, 0x88)), 0xd8);
    high = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(first, second, 0xdd)), 0xd8);
  }

  // From 16 vectors of one word of every block to 8 blocks of two vectors.
  [[gnu::always_inline]] static inline void transpose_blocks(Words* state) noexcept {
    Words first[8], second[8];  // halves
    for (unsigned i = 0; i < 8; ++i) first[i] = state[i];
    for (unsigned i = 0; i < 8; ++i) second[i] = state[8 + i];
    transpose(first);
    transpose(second);
    for (unsigned i = 0; i < 8; ++i) {
      state[2 * i] = first[i];
      state[2 * i + 1] = second[i];
    }
  }

  [[gnu::always_inline]] static inline void xor_block(std::byte* text, const Words* block) noexcept {
    xor256(text, block[0]);
    xor256(text + 32, block[1]);
  }
  static void xor_partly(std::byte* text, const Words* block, uint32_t size) noexcept {
    const std::byte* const keystream = reinterpret_cast<const std::byte*>(block);
    if (size == 64) return xor_block(text, block);
    uint32_t at = 0;
    if ((size & 32) != 0) {
      xor256(text, block[0]);
      at = 32;
    }
    for (; at + 8 <= size; at += 8) {
      uint64_t a, b;
      __builtin_memcpy(&a, text + at, sizeof a);
      __builtin_memcpy(&b, keystream + at, sizeof b);
      a ^= b;
      __builtin_memcpy(text + at, &a, sizeof a);
    }
    for (; at < size; ++at) text[at] ^= keystream[at];
  }

  // --- 64-bit lanes (Poly1305) ---
  using Longs = __m256i;
  static constexpr unsigned kLongs = 4;
  static constexpr unsigned kSumsInFlight = 2;

  static Longs load(const uint64_t* longs) noexcept { return load256(longs); }
  static void store(uint64_t* longs, Longs a) noexcept { store256(longs, a); }
  static Longs broadcast64(uint64_t a) noexcept { return _mm256_set1_epi64x(static_cast<long long>(a)); }
  static Longs add64(Longs a, Longs b) noexcept { return _mm256_add_epi64(a, b); }
  static Longs negative(Longs a) noexcept { return _mm256_sub_epi64(_mm256_setzero_si256(), a); }
  static Longs bit_and(Longs a, Longs b) noexcept { return _mm256_and_si256(a, b); }
  static Longs bit_or(Longs a, Longs b) noexcept { return _mm256_or_si256(a, b); }
  static Longs or_and(Longs a, Longs b, Longs mask) noexcept { return bit_and(bit_or(a, b), mask); }
  static Longs select(Longs mask, Longs a, Longs b) noexcept {  // every bit: a where mask is 1
    return bit_or(bit_and(mask, a), _mm256_andnot_si256(mask, b));
  }
  template <unsigned kBits>
  static Longs shift_right(Longs a) noexcept {
    return _mm256_srli_epi64(a, kBits);
  }
  template <unsigned kBits>
  static Longs shift_left(Longs a) noexcept {
    return _mm256_slli_epi64(a, kBits);
  }
  // The low halves. The factor stays in memory, where g++ would rather keep the sums.
  static Longs multiply32(Longs a, const Longs& factor) noexcept {
    Longs product;
    asm("vpmuludq %2, %1, %0" : "=x"(product) : "x"(a), "m"(factor));
    return product;
  }

  // Words to 64-bit lanes; in the second form lane i takes the word of number lanes[i].
  static Longs widen(const uint32_t* words) noexcept {
    return _mm256_cvtepu32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)));
  }
  static Longs widen(const uint32_t* words, const uint32_t* lanes) noexcept {
    return _mm256_cvtepu32_epi64(_mm256_castsi256_si128(_mm256_permutevar8x32_epi32(load256(words), load256(lanes))));
  }

  // Lane by lane, low before high.
  static void store_pairs(std::byte* to, Longs low, Longs high) noexcept {
    const Longs even = _mm256_unpacklo_epi64(low, high), odd = _mm256_unpackhi_epi64(low, high);
    store256(to, _mm256_permute2x128_si256(even, odd, 0x20));
    store256(to + 32, _mm256_permute2x128_si256(even, odd, 0x31));
  }

  // Up to 16 bytes, and zeros behind them.
  static void copy_padded(std::byte* to, const std::byte* from, size_t size) noexcept {
    uint64_t half[2] = {};
    const size_t whole = size / 8;
    for (size_t i = 0; i < whole; ++i) __builtin_memcpy(&half[i], from + 8 * i, 8);
    for (size_t i = whole * 8; i < size; ++i) half[whole] |= static_cast<uint64_t>(from[i]) << (8 * (i % 8));
    __builtin_memcpy(to, half, sizeof half);
  }

  // 16 bytes for every lane, as two 64-bit numbers.
  [[gnu::always_inline]] static inline void load_blocks(const std::byte* const* from, ptrdiff_t offset, Longs& low,
                                                        Longs& high) noexcept {
    const Longs even = two_blocks(from[0] + offset, from[2] + offset);
    const Longs odd = two_blocks(from[1] + offset, from[3] + offset);
    low = _mm256_unpacklo_epi64(even, odd);
    high = _mm256_unpackhi_epi64(even, odd);
  }

 private:
  // Which byte goes where when the words of a vector turn left by so many bits.
  alignas(32) static constexpr uint8_t kLeft16[32] = {2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13,
                                                      2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13};
  alignas(32) static constexpr uint8_t kLeft8[32] = {3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14,
                                                     3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14};

  // d turns as the pattern says, b by kBits. In assembly, because with intrinsics g++ keeps the patterns in registers
  // and moves the state to memory and back instead, which takes a quarter more time.
  template <int kBits>
  [[gnu::always_inline]] static inline void half_quarter_rounds(const uint8_t (&pattern)[32], Words& a0, Words& b0,
                                                                Words& c0, Words& d0, Words& a1, Words& b1, Words& c1,
                                                                Words& d1) noexcept {
    Words t0, t1;
    asm("vpaddd %[b0], %[a0], %[a0]\n"
        "vpaddd %[b1], %[a1], %[a1]\n"
        "vpxor %[a0], %[d0], %[d0]\n"
        "vpxor %[a1], %[d1], %[d1]\n"
        "vpshufb %[pattern], %[d0], %[d0]\n"
        "vpshufb %[pattern], %[d1], %[d1]\n"
        "vpaddd %[d0], %[c0], %[c0]\n"
        "vpaddd %[d1], %[c1], %[c1]\n"
        "vpxor %[c0], %[b0], %[b0]\n"
        "vpxor %[c1], %[b1], %[b1]\n"
        "vpslld %[bits], %[b0], %[t0]\n"
        "vpsrld %[rest], %[b0], %[b0]\n"
        "vpor %[t0], %[b0], %[b0]\n"
        "vpslld %[bits], %[b1], %[t1]\n"
        "vpsrld %[rest], %[b1], %[b1]\n"
        "vpor %[t1], %[b1], %[b1]\n"
        : [a0] "+x"(a0), [b0] "+x"(b0), [c0] "+x"(c0), [d0] "+x"(d0), [a1] "+x"(a1), [b1] "+x"(b1), [c1] "+x"(c1),
          [d1] "+x"(d1), [t0] "=&x"(t0), [t1] "=&x"(t1)
        : [pattern] "m"(pattern), [bits] "i"(kBits), [rest] "i"(32 - kBits));
  }

  static __m256i load256(const void* from) noexcept { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
  static void store256(void* to, __m256i a) noexcept { _mm256_storeu_si256(static_cast<__m256i*>(to), a); }
  static void xor256(std::byte* text, __m256i keystream) noexcept {
    store256(text, _mm256_xor_si256(keystream, load256(text)));
  }

  static __m256i two_blocks(const std::byte* first, const std::byte* second) noexcept {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(first))),
                                   _mm_loadu_si128(reinterpret_cast<const __m128i*>(second)), 1);
  }

  // 8 x 8 words.
  [[gnu::always_inline]] static inline void transpose(Words* v) noexcept {
    for (unsigned half = 0; half < 8; half += 4) {
      const Words a = _mm256_unpacklo_epi32(v[half], v[half + 1]), b = _mm256_unpackhi_epi32(v[half], v[half + 1]);
      const Words c = _mm256_unpacklo_epi32(v[half + 2], v[half + 3]);
      const Words d = _mm256_unpackhi_epi32(v[half + 2], v[half + 3]);
      v[half] = _mm256_unpacklo_epi64(a, c);
      v[half + 1] = _mm256_unpackhi_epi64(a, c);
      v[half + 2] = _mm256_unpacklo_epi64(b, d);
      v[half + 3] = _mm256_unpackhi_epi64(b, d);
    }
    for (unsigned i = 0; i < 4; ++i) {
      const Words first = v[i], second = v[i + 4];
      v[i] = _mm256_permute2x128_si256(first, second, 0x20);
      v[i + 4] = _mm256_permute2x128_si256(first, second, 0x31);
    }
  }
};

}  // namespace sluice::lanes
