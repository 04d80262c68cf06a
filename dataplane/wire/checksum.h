// The Internet checksum (RFC 1071): ones' complement sums of 16-bit words. `add` accumulates, `fold` finishes:
// fold(add(...)) is the value for the header field.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "dataplane/wire/messages.h"

namespace sluice {

// Words are summed as they lie in memory. Of several pieces that are summed one after another, all but the last have
// an even length.
uint32_t checksum_add(ConstBytes bytes, uint32_t sum = 0) noexcept;

// Halves added with the carry that comes out put in again: it is carried from the lower half of the doubled sum into
// the upper one.
constexpr uint32_t checksum_fold_to_32(uint64_t sum) noexcept {
  return static_cast<uint32_t>((sum + std::rotr(sum, 32)) >> 32);
}
constexpr uint16_t checksum_fold_to_16(uint32_t sum) noexcept {
  return static_cast<uint16_t>((sum + std::rotr(sum, 16)) >> 16);
}

inline uint16_t checksum_fold(uint32_t sum) noexcept {  // complemented, host order
  return __builtin_bswap16(static_cast<uint16_t>(~checksum_fold_to_16(sum)));
}

// A field as checksum_add would sum it.
inline uint32_t checksum_word(be16 field) noexcept {
  uint16_t raw;
  std::memcpy(&raw, &field, sizeof raw);
  return raw;
}

// checksum_add for a header of so many bytes, without a loop.
template <size_t kSize>
[[gnu::always_inline]] inline uint32_t checksum_of(const void* bytes, uint64_t sum = 0) noexcept {
  static_assert(kSize % 4 == 0);
  const auto* const at = static_cast<const std::byte*>(bytes);
  const auto add = [&](uint64_t word) {
    const bool carry = __builtin_add_overflow(sum, word, &sum);
    sum += carry;
  };
  for (size_t i = 0; i + 8 <= kSize; i += 8) {
    uint64_t word;
    std::memcpy(&word, at + i, sizeof word);
    add(word);
  }
  if constexpr (kSize % 8 != 0) {
    uint32_t word;
    std::memcpy(&word, at + kSize - 4, sizeof word);
    add(word);
  }
  return checksum_fold_to_32(sum);
}

// RFC 1624: the new checksum after one 16-bit word of the covered data changed.
inline uint16_t checksum_adjust(uint16_t checksum, uint16_t old_word, uint16_t new_word) noexcept {
  uint32_t sum = static_cast<uint16_t>(~checksum) + uint32_t{static_cast<uint16_t>(~old_word)} + new_word;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

// The same for an IPv4 header whose TTL, the upper half of its word, went down by one: its complement goes up, and what
// is carried out of 16 bits comes in again at the bottom.
inline uint16_t checksum_of_one_hop_less(uint16_t checksum) noexcept {
  const uint32_t sum = uint32_t{checksum} + 0x100;
  return static_cast<uint16_t>(sum + (sum >= 0xffff));
}

}  // namespace sluice
