// Anti-replay window of one keypair (RFC 6479 as the protocol uses it, protocol.md section 9): a ring of 128 words of
// 64 bits, of which one is always being recycled, so exactly 8128 counters behind the greatest are still good. One
// writer, the keypair's owner worker; plain memory.
//
// The word that the greatest counter is in is kept with that counter, apart from the ring: packets that come more or
// less in order ask for nothing else, but when they go on to the next word.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "dataplane/wire/limits.h"

namespace sluice {

class ReplayWindow {
 public:
  // The ring, all zero at the start.
  using OlderWords = std::array<uint64_t, 128>;

  // True the first time `counter` is seen inside the window. Call only for counters of authenticated packets. `older`
  // is called, if at all, for the window's OlderWords.
  template <class Older>
  bool accept(uint64_t counter, Older older) noexcept {
    if (top_ > kRejectAfterMessages || counter >= kRejectAfterMessages) return false;
    const uint64_t x = counter + 1;
    if (x / kWordBits != top_ / kWordBits) [[unlikely]]
      return accept_elsewhere(x, older());
    if (!take(newest_, x)) return false;
    top_ = std::max(top_, x);
    return true;
  }

  uint64_t received() const noexcept { return top_; }  // greatest accepted counter + 1; 0 at the start

 private:
  static constexpr uint64_t kWordBits = 64, kWords = std::tuple_size_v<OlderWords>;
  static_assert(kReplayWindowSize == (kWords - 1) * kWordBits);

  static bool take(uint64_t& word, uint64_t x) noexcept {
    const uint64_t bit = uint64_t{1} << (x % kWordBits);
    if ((word & bit) != 0) return false;
    word |= bit;
    return true;
  }
  // Not in the newest word.
  [[gnu::noinline]] bool accept_elsewhere(uint64_t x, OlderWords& older) noexcept {
    if (x < top_) return x + kReplayWindowSize >= top_ && take(older[x / kWordBits % kWords], x);
    const uint64_t from = top_ / kWordBits, skipped = std::min(x / kWordBits - from - 1, kWords);
    older[from % kWords] = newest_;
    for (uint64_t i = 1; i <= skipped; ++i) older[(from + i) % kWords] = 0;
    newest_ = 0;
    top_ = x;
    return take(newest_, x);
  }

  uint64_t top_ = 0;
  uint64_t newest_ = 0;  // the word that top_ is in
};

}  // namespace sluice
