#pragma once

#include <cstddef>

namespace sluice::lanes {

// Clears memory that held secrets, in a way the compiler may not remove: a few vector stores in the flow of the kernel,
// where sluice::wipe() would be a call. Whole objects of vectors: a multiple of 32 bytes.
template <class Secret>
[[gnu::always_inline]] inline void erase(Secret& secret) noexcept {
  static_assert(sizeof(Secret) % 32 == 0);
  unsigned char* const memory = reinterpret_cast<unsigned char*>(&secret);
  for (size_t i = 0; i < sizeof(Secret); i += 32) {
    __builtin_memset(memory + i, 0, 32);
    asm volatile("" : : "r"(memory) : "memory");  // keeps the loop from becoming a call
  }
}

// Clears what the functions that the caller has called before have left of vectors that had no register: this one's
// frame takes their place. Isa: one for every instruction set, so that none is linked in the place of another.
template <class Isa>
[[gnu::noinline]] void erase_stack() noexcept {
  constexpr size_t kDeepest = 6144;  // of the kernels' functions below their entry points, all together
  unsigned char room[kDeepest];
  __builtin_memset(room, 0, sizeof room);
  asm volatile("" : : "r"(room) : "memory");
}

}  // namespace sluice::lanes
