// Finds items that are kept elsewhere, under 32-bit numbers, by something that hashes: a few bytes per item, in one
// piece. Open addressing with linear probing and backward-shift deletion (Knuth, volume 3, section 6.4, algorithm R).
// Whoever holds the items says how one is recognised and what its hash is. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace sluice {

class FlatIndex {
 public:
  size_t size() const noexcept { return count_; }

  // is_it(number): it is the item that is looked for.
  template <class IsIt>
  std::optional<uint32_t> find(size_t hash, IsIt is_it) const {
    if (count_ == 0) return std::nullopt;
    for (size_t at = home(hash); numbers_[at] != kNone; at = next(at))
      if (is_it(numbers_[at])) return numbers_[at];
    return std::nullopt;
  }

  // Of an item that is not in it. hash_of(number): of any item in it. `number` is less than UINT32_MAX.
  template <class HashOf>
  void insert(uint32_t number, HashOf hash_of) {
    if (4 * (count_ + 1) > 3 * numbers_.size()) grow(hash_of);
    put(number, hash_of(number));
    ++count_;
  }

  // Of an item that is in it, and still hashes as it did.
  template <class HashOf>
  void erase(uint32_t number, HashOf hash_of) {
    size_t hole = home(hash_of(number));
    while (numbers_[hole] != number) hole = next(hole);
    for (size_t at = next(hole); numbers_[at] != kNone; at = next(at)) {
      const size_t wanted = home(hash_of(numbers_[at]));
      if (((at - wanted) & mask()) < ((at - hole) & mask())) continue;  // it would come to stand before its home
      numbers_[hole] = numbers_[at];
      hole = at;
    }
    numbers_[hole] = kNone;
    --count_;
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr size_t kSmallest = 8;

  size_t mask() const noexcept { return numbers_.size() - 1; }
  size_t next(size_t at) const noexcept { return (at + 1) & mask(); }
  size_t home(size_t hash) const noexcept {
    constexpr uint64_t kFactor = 0x9e3779b97f4a7c15;  // 2^64 divided by the golden ratio (Knuth, section 6.4)
    return (hash * kFactor >> 32) & mask();
  }
  void put(uint32_t number, size_t hash) noexcept {
    size_t at = home(hash);
    while (numbers_[at] != kNone) at = next(at);
    numbers_[at] = number;
  }
  template <class HashOf>
  void grow(HashOf hash_of) {
    const size_t wanted = numbers_.empty() ? kSmallest : 2 * numbers_.size();
    const std::vector<uint32_t> old = std::exchange(numbers_, std::vector<uint32_t>(wanted, kNone));
    for (const uint32_t number : old)
      if (number != kNone) put(number, hash_of(number));
  }

  std::vector<uint32_t> numbers_;  // a power of two of them, kNone where there is none
  size_t count_ = 0;
};

}  // namespace sluice
