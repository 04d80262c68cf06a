// Secret<N>: N bytes of key material. Move-only, wiped when it dies or is moved from, compared in constant time, and
// without any way to print it.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <span>

namespace sluice {

// Overwrites memory in a way the compiler may not remove. Inline: a handshake wipes some hundred secrets, of mostly one
// or two vectors.
inline void wipe(std::span<std::byte> bytes) noexcept {
  if (bytes.empty()) return;  // from nowhere, maybe
  std::memset(bytes.data(), 0, bytes.size());
  asm volatile("" : : "r"(bytes.data()) : "memory");  // may read them, for all that the compiler knows
}

// Constant-time comparison; false if the lengths differ (lengths are never secret here).
bool equal_constant_time(std::span<const std::byte> a, std::span<const std::byte> b) noexcept;

// Constant-time test for all-zero bytes.
bool is_zero_constant_time(std::span<const std::byte> bytes) noexcept;

template <size_t N>
class Secret {
 public:
  static constexpr size_t kSize = N;

  Secret() noexcept : bytes_{} {}
  explicit Secret(std::span<const std::byte, N> source) noexcept {
    for (size_t i = 0; i < N; ++i) bytes_[i] = source[i];
  }
  Secret(Secret&& other) noexcept : bytes_(other.bytes_) { other.clear(); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      bytes_ = other.bytes_;
      other.clear();
    }
    return *this;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { clear(); }

  // A deliberate second copy of a secret, with a name that can be searched for.
  Secret clone() const noexcept { return Secret(std::span<const std::byte, N>(bytes_)); }
  void clear() noexcept { wipe(bytes_); }
  bool is_zero() const noexcept { return is_zero_constant_time(bytes_); }
  bool equals(const Secret& other) const noexcept { return equal_constant_time(bytes_, other.bytes_); }

  std::span<std::byte, N> bytes() noexcept { return bytes_; }
  std::span<const std::byte, N> bytes() const noexcept { return bytes_; }
  const unsigned char* data() const noexcept { return reinterpret_cast<const unsigned char*>(bytes_.data()); }
  unsigned char* data() noexcept { return reinterpret_cast<unsigned char*>(bytes_.data()); }

 private:
  std::array<std::byte, N> bytes_;
};

}  // namespace sluice
