// AVX2: 8 lanes of 32 bits, 4 lanes of 64 bits.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "dataplane/crypto/lanes/erase.h"

namespace sluice::lanes {

struct Avx2 {
  // --- 32-bit lanes (ChaCha20) ---
  using Words = __m256i;
  static constexpr unsigned kWords = 8;
  static constexpr unsigned kGroupsInFlight = 1;  // 16 registers: one state, and even that leaves none for temporaries

  static Words load(const uint32_t* words) noexcept { return load256(words); }
  static Words broadcast(uint32_t word) noexcept { return _mm256_set1_epi32(static_cast<int>(word)); }
  static Words broadcast_from(const std::byte* word) noexcept {
    uint32_t value;
    __builtin_memcpy(&value, word, sizeof value);
    return broadcast(value);
  }
  static Words ascending() noexcept { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
  static Words add(Words a, Words b) noexcept { return _mm256_add_epi32(a, b); }
  static Words bit_xor(Words a, Words b) noexcept { return _mm256_xor_si256(a, b); }
  template <int kBits>
  static Words rotate_left(Words a) noexcept {
    if constexpr (kBits == 16)
      return _mm256_shuffle_epi8(
          a, _mm256_broadcastsi128_si256(_mm_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)));
    else if constexpr (kBits == 8)
      return _mm256_shuffle_epi8(
          a, _mm256_broadcastsi128_si256(_mm_setr_epi8(3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14)));
    else
      return _mm256_or_si256(_mm256_slli_epi32(a, kBits), _mm256_srli_epi32(a, 32 - kBits));
  }

  // 8 keys of 8 words to 8 vectors of one word of every key.
  [[gnu::always_inline]] static inline void load_keys(const std::byte* const* keys, Words* out) noexcept {
    for (unsigned i = 0; i < kWords; ++i) out[i] = load256(keys[i]);
    transpose(out);
  }

  // Adds the keystream blocks, whose words `state` holds one per vector, to the texts.
  [[gnu::always_inline]] static inline void xor_blocks(Words* state, std::byte* const* text, const uint32_t* size,
                                                       unsigned count) noexcept {
    transpose(state);      // the first halves of all blocks
    transpose(state + 8);  // the second ones
    alignas(32) Words rows[2 * kWords];
    for (unsigned i = 0; i < kWords; ++i) {
      rows[2 * i] = state[i];
      rows[2 * i + 1] = state[kWords + i];
    }
    for (unsigned i = 0; i < count; ++i) {
      if (size[i] == 64) {
        xor256(text[i], rows[2 * i]);
        xor256(text[i] + 32, rows[2 * i + 1]);
      } else {
        xor_partly(text[i], reinterpret_cast<const std::byte*>(rows + 2 * i), size[i]);
      }
    }
    erase(rows);
  }

  // --- 64-bit lanes (Poly1305) ---
  using Longs = __m256i;
  static constexpr unsigned kLongs = 4;

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
  static Longs multiply32(Longs a, Longs b) noexcept { return _mm256_mul_epu32(a, b); }  // the low halves

  // 16 bytes for every lane, as two 64-bit numbers.
  [[gnu::always_inline]] static inline void load_blocks(const std::byte* const* from, ptrdiff_t offset, Longs& low,
                                                        Longs& high) noexcept {
    const Longs even = two_blocks(from[0] + offset, from[2] + offset);
    const Longs odd = two_blocks(from[1] + offset, from[3] + offset);
    low = _mm256_unpacklo_epi64(even, odd);
    high = _mm256_unpackhi_epi64(even, odd);
  }

 private:
  static __m256i load256(const void* from) noexcept { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
  static void store256(void* to, __m256i a) noexcept { _mm256_storeu_si256(static_cast<__m256i*>(to), a); }
  static void xor256(std::byte* text, __m256i keystream) noexcept {
    store256(text, _mm256_xor_si256(keystream, load256(text)));
  }

  // Fewer than 64 bytes.
  static void xor_partly(std::byte* text, const std::byte* keystream, uint32_t size) noexcept {
    uint32_t at = 0;
    if ((size & 32) != 0) {
      xor256(text, load256(keystream));
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
