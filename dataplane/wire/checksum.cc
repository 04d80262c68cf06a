#include "dataplane/wire/checksum.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <array>

namespace sluice {
namespace {

__extension__ typedef unsigned __int128 uint128;

// RFC 1071, section 2(B) and (C): sums of 16-bit words may be taken in any byte order, in any grouping, and in any
// wider word.
uint64_t fold_to_64(uint128 sum) noexcept {
  const uint128 folded = static_cast<uint64_t>(sum) + (sum >> 64);
  return static_cast<uint64_t>(folded) + static_cast<uint64_t>(folded >> 64);
}

// The last bytes of a text, fewer than 16, as if zeros followed.
uint128 last_words(const std::byte* p, size_t left) noexcept {
  uint128 sum = 0;
  const auto take = [&]<class Word>(Word word) {
    if ((left & sizeof word) == 0) return;
    std::memcpy(&word, p, sizeof word);
    sum += word;
    p += sizeof word;
  };
  take(uint64_t{});
  take(uint32_t{});
  take(uint16_t{});
  take(uint8_t{});
  return sum;
}

uint64_t sum_words(const std::byte* p, size_t size) noexcept {
  uint128 even = 0, odd = 0;  // side by side, so that neither waits for the other's carries
  for (; size >= 16; p += 16, size -= 16) {
    uint64_t words[2];
    std::memcpy(words, p, sizeof words);
    even += words[0];
    odd += words[1];
  }
  return fold_to_64(even + odd + last_words(p, size));
}

constexpr size_t kVector = 32;

#if defined(__x86_64__)
bool has_vector_sum() noexcept { return __builtin_cpu_supports("avx2"); }

[[gnu::target("avx2")]] inline __m256i load(const void* at) noexcept {
  return _mm256_loadu_si256(static_cast<const __m256i*>(at));
}

// The one instruction that adds up many words takes them for signed: with its top bit flipped a word is one, and 2^15
// less than it was.
constexpr size_t kMostBytes = 4095 * 2 * kVector;  // whose sum cannot leave 31 bits
[[gnu::target("avx2")]] uint64_t sum_vectors(const std::byte* p, size_t size) noexcept {  // kVector or more, even
  static constexpr auto kLastBytes = [] {  // from n on: a vector of which the last n bytes are set
    std::array<uint8_t, 2 * kVector> bytes{};
    std::fill(bytes.begin() + kVector, bytes.end(), uint8_t{0xff});
    return bytes;
  }();
  const __m256i flip = _mm256_set1_epi16(INT16_MIN), ones = _mm256_set1_epi16(1);
  __m256i even = _mm256_setzero_si256(), odd = even;
  size_t left = size;
  for (; left >= 2 * kVector; p += 2 * kVector, left -= 2 * kVector) {
    even = _mm256_add_epi32(even, _mm256_madd_epi16(_mm256_xor_si256(load(p), flip), ones));
    odd = _mm256_add_epi32(odd, _mm256_madd_epi16(_mm256_xor_si256(load(p + kVector), flip), ones));
  }
  if (left >= kVector) {
    even = _mm256_add_epi32(even, _mm256_madd_epi16(_mm256_xor_si256(load(p), flip), ones));
    p += kVector;
    left -= kVector;
  }
  if (left != 0) {  // together with bytes in front of them, which have been counted
    const __m256i words = _mm256_xor_si256(load(p + left - kVector), flip);
    odd = _mm256_add_epi32(odd, _mm256_madd_epi16(_mm256_and_si256(words, load(&kLastBytes[left])), ones));
  }
  const __m256i eight = _mm256_add_epi32(even, odd);
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  const int64_t sum = int64_t{_mm_cvtsi128_si32(two)} + _mm_extract_epi32(two, 1);
  return static_cast<uint64_t>(sum + static_cast<int64_t>(size / 2 << 15));
}
#else
constexpr size_t kMostBytes = SIZE_MAX;
bool has_vector_sum() noexcept { return false; }
uint64_t sum_vectors(const std::byte* p, size_t size) noexcept { return sum_words(p, size); }
#endif

}  // namespace

uint32_t checksum_add(ConstBytes bytes, uint32_t sum) noexcept {
  const size_t words = bytes.size() & ~size_t{1};
  if (words < kVector || words > kMostBytes || !has_vector_sum()) [[unlikely]]
    return checksum_fold_to_32(fold_to_64(uint128{sum} + sum_words(bytes.data(), bytes.size())));
  const uint64_t last = words != bytes.size() ? static_cast<uint64_t>(bytes.back()) : 0;  // as if a zero followed
  return checksum_fold_to_32(sum + sum_vectors(bytes.data(), words) + last);
}

}  // namespace sluice
