// Anti-replay window of one keypair (RFC 6479 as the protocol uses it, protocol.md section 9): a ring of 128 words of
// 64 bits, of which one is always being recycled, so exactly 8128 counters behind the greatest are still good. One
// writer, the keypair's owner worker; plain memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "dataplane/wire/limits.h"

namespace sluice {

class ReplayWindow {
 public:
  // True the first time `counter` is seen inside the window. Call only for counters of authenticated packets.
  bool accept(uint64_t counter) noexcept {
    if (top_ > kRejectAfterMessages || counter >= kRejectAfterMessages) return false;
    const uint64_t x = counter + 1;
    if (x + kReplayWindowSize < top_) return false;
    if (x > top_) advance(x);
    uint64_t& word = words_[(x / kWordBits) % kWords];
    const uint64_t bit = uint64_t{1} << (x % kWordBits);
    if ((word & bit) != 0) return false;
    word |= bit;
    return true;
  }

  // The word that accept(counter) will look at.
  const void* word_of(uint64_t counter) const noexcept { return &words_[((counter + 1) / kWordBits) % kWords]; }

  uint64_t received() const noexcept { return top_; }  // greatest accepted counter + 1; 0 at the start

 private:
  static constexpr uint64_t kWordBits = 64, kWords = 128;
  static_assert(kReplayWindowSize == (kWords - 1) * kWordBits);

  void advance(uint64_t x) noexcept {
    const uint64_t from = top_ / kWordBits;
    uint64_t steps = x / kWordBits - from;
    if (steps > kWords) steps = kWords;
    for (uint64_t i = 1; i <= steps; ++i) words_[(from + i) % kWords] = 0;
    top_ = x;
  }

  uint64_t top_ = 0;
  std::array<uint64_t, kWords> words_{};
};

}  // namespace sluice
