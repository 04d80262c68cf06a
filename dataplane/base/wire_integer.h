// Wire integers: their byte order is part of the type, and conversion is explicit. All have alignment 1, so that
// structs made of them can be laid over packet bytes (after the length was checked).
#pragma once

#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>

namespace sluice {

template <class Integer, std::endian Order>
class WireInteger {
 public:
  WireInteger() = default;
  constexpr explicit WireInteger(Integer host) { store(host); }

  Integer host() const {
    Integer raw;
    std::memcpy(&raw, bytes_, sizeof raw);
    return convert(raw);
  }
  WireInteger& operator=(Integer host) {
    store(host);
    return *this;
  }
  bool operator==(const WireInteger& other) const { return std::memcmp(bytes_, other.bytes_, sizeof bytes_) == 0; }

 private:
  static constexpr Integer convert(Integer v) {
    if constexpr (Order == std::endian::native || sizeof(Integer) == 1) return v;
    if constexpr (sizeof(Integer) == 2) return static_cast<Integer>(__builtin_bswap16(v));
    if constexpr (sizeof(Integer) == 4) return static_cast<Integer>(__builtin_bswap32(v));
    if constexpr (sizeof(Integer) == 8) return static_cast<Integer>(__builtin_bswap64(v));
  }
  void store(Integer host) {
    const Integer raw = convert(host);
    std::memcpy(bytes_, &raw, sizeof raw);
  }

  unsigned char bytes_[sizeof(Integer)];
};

using be16 = WireInteger<uint16_t, std::endian::big>;
using be32 = WireInteger<uint32_t, std::endian::big>;
using be64 = WireInteger<uint64_t, std::endian::big>;
using le32 = WireInteger<uint32_t, std::endian::little>;
using le64 = WireInteger<uint64_t, std::endian::little>;

static_assert(sizeof(be16) == 2 && alignof(be16) == 1);
static_assert(sizeof(le64) == 8 && alignof(le64) == 1);

}  // namespace sluice
