// A generator that repeats: xoshiro-quality is not needed, splitmix64 is enough. For tests only.
#pragma once

#include <cstring>

#include "dataplane/base/random.h"

namespace sluice::test {

class SeededRng final : public Rng {
 public:
  explicit SeededRng(uint64_t seed = 1) : state_(seed) {}
  uint64_t next() noexcept {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  void fill(std::span<std::byte> bytes) noexcept override {
    for (size_t i = 0; i < bytes.size(); i += 8) {
      const uint64_t v = next();
      std::memcpy(bytes.data() + i, &v, std::min<size_t>(8, bytes.size() - i));
    }
  }

 private:
  uint64_t state_;
};

}  // namespace sluice::test
