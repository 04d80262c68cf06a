// Randomness, passed in: the system's CSPRNG in the product, a seeded generator in tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice {

class Rng {
 public:
  virtual ~Rng() = default;
  virtual void fill(std::span<std::byte> bytes) noexcept = 0;

  uint32_t next_u32() noexcept {
    uint32_t v;
    fill(std::as_writable_bytes(std::span(&v, 1)));
    return v;
  }
  // Uniform in [0, bound); bound > 0. The bias of a plain remainder (2^-32) matters to no caller.
  uint32_t below(uint32_t bound) noexcept { return static_cast<uint32_t>((uint64_t{next_u32()} * bound) >> 32); }
};

class SystemRng final : public Rng {  // libsodium's randombytes; thread-safe
 public:
  void fill(std::span<std::byte> bytes) noexcept override;
};

}  // namespace sluice
