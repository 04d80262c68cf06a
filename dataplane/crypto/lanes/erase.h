#pragma once

#include <cstddef>

namespace sluice::lanes {

// Clears memory that held secrets, in a way the compiler may not remove. (sluice::wipe() would be a call per object.)
[[gnu::always_inline]] inline void erase(void* memory, size_t size) noexcept {
  __builtin_memset(memory, 0, size);
  asm volatile("" : : "r"(memory) : "memory");
}

}  // namespace sluice::lanes
