// Equality of a known, small number of bytes without a call of memcmp. Not for secrets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sluice {

template <size_t N>
[[gnu::always_inline]] inline bool equal_bytes(const void* a, const void* b) noexcept {
  const auto* x = static_cast<const unsigned char*>(a);
  const auto* y = static_cast<const unsigned char*>(b);
  uint64_t difference = 0;
  size_t at = 0;
  const auto compare = [&]<class Word>(Word) {
    for (; at + sizeof(Word) <= N; at += sizeof(Word)) {
      Word v, w;
      std::memcpy(&v, x + at, sizeof v);
      std::memcpy(&w, y + at, sizeof w);
      difference |= static_cast<Word>(v ^ w);
    }
  };
  compare(uint64_t{});
  compare(uint32_t{});
  compare(uint16_t{});
  compare(uint8_t{});
  return difference == 0;
}

}  // namespace sluice
