// The Internet checksum (RFC 1071): ones' complement sums of 16-bit words. `add` accumulates, `fold` finishes:
// fold(add(...)) is the value for the header field.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "dataplane/wire/messages.h"

namespace sluice {

// Words are summed as they lie in memory. Of several pieces that are summed one after another, all but the last have
// an even length.
uint32_t checksum_add(ConstBytes bytes, uint32_t sum = 0) noexcept;

inline uint16_t checksum_fold(uint32_t sum) noexcept {  // complemented, host order
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return __builtin_bswap16(static_cast<uint16_t>(~sum));
}

// A field as checksum_add would sum it.
inline uint32_t checksum_word(be16 field) noexcept {
  uint16_t raw;
  std::memcpy(&raw, &field, sizeof raw);
  return raw;
}

// Sums of few words added to a sum.
inline uint32_t checksum_add_words(uint32_t sum, uint32_t words) noexcept {
  const uint64_t wide = uint64_t{sum} + words;
  return static_cast<uint32_t>(wide) + static_cast<uint32_t>(wide >> 32);
}

// checksum_add for the 20 bytes of an IPv4 header without options, without a loop.
inline uint32_t checksum_of_20_bytes(const void* bytes) noexcept {
  uint64_t first, second;
  uint32_t third;
  std::memcpy(&first, bytes, 8);
  std::memcpy(&second, static_cast<const std::byte*>(bytes) + 8, 8);
  std::memcpy(&third, static_cast<const std::byte*>(bytes) + 16, 4);
  // Each sum is less than 2^35.
  const uint64_t sum = (first & 0xffffffff) + (first >> 32) + (second & 0xffffffff) + (second >> 32) + third;
  const uint64_t folded = (sum & 0xffffffff) + (sum >> 32);
  return static_cast<uint32_t>((folded & 0xffffffff) + (folded >> 32));
}

// RFC 1624: the new checksum after one 16-bit word of the covered data changed.
inline uint16_t checksum_adjust(uint16_t checksum, uint16_t old_word, uint16_t new_word) noexcept {
  uint32_t sum = static_cast<uint16_t>(~checksum) + uint32_t{static_cast<uint16_t>(~old_word)} + new_word;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

}  // namespace sluice
