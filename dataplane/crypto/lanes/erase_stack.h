#pragma once

#include <cstddef>

namespace sluice::lanes {

// Clears what the kernel's functions that the caller has called before have left in the place of this one's frame:
// keys, keystream, Poly1305's numbers. Isa: one for every instruction set, so that none is linked in the place of
// another.
template <class Isa>
[[gnu::noinline]] void erase_stack() noexcept {
  // Those functions' frames, one in the other: with g++ 12 up to 5.6 KiB.
  constexpr size_t kDeepest = 8 * 1024;
  unsigned char room[kDeepest];
  __builtin_memset(room, 0, sizeof room);
  asm volatile("" : : "r"(room) : "memory");
}

}  // namespace sluice::lanes
