// Cache lines asked for before they are needed.
#pragma once

#include <rte_prefetch.h>

#include <cstddef>

namespace sluice {

inline void prefetch_lines(const void* first, size_t bytes = 1) noexcept {
  const auto* line = static_cast<const std::byte*>(first);
  for (size_t at = 0; at < bytes; at += 64) rte_prefetch0(line + at);
}

}  // namespace sluice
