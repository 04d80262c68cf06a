// Who follows a pointer to an object that is gone, in memory that we hand out ourselves, is found out as with any other
// memory (AddressSanitizer).
#pragma once

#include <cstddef>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace sluice {

inline void forbid([[maybe_unused]] void* object, [[maybe_unused]] size_t size) noexcept {
#ifdef __SANITIZE_ADDRESS__
  ASAN_POISON_MEMORY_REGION(object, size);
#endif
}

inline void permit([[maybe_unused]] void* object, [[maybe_unused]] size_t size) noexcept {
#ifdef __SANITIZE_ADDRESS__
  ASAN_UNPOISON_MEMORY_REGION(object, size);
#endif
}

}  // namespace sluice
