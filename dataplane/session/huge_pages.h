// Memory straight from the system, in huge pages where it has any to give: no privilege and no reservation is needed
// (transparent huge pages), and where they are off it is just memory. Every access to memory that has long left the
// caches would else look up its page first.
#pragma once

#include <cstddef>

namespace sluice {

inline constexpr size_t kHugePage = size_t{2} << 20;

// All zero, from a huge page's boundary on if it is as large as one, taken only where it is touched. Throws
// std::bad_alloc.
void* map_pages(size_t bytes);
void touch_pages(void* first, size_t bytes) noexcept;  // of map_pages
void unmap_pages(void* first, size_t bytes) noexcept;

}  // namespace sluice
