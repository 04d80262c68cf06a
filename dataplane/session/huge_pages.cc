#include "dataplane/session/huge_pages.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

namespace sluice {
namespace {

constexpr size_t kPage = 4096;

size_t in_pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

}  // namespace

void* map_pages(size_t bytes) {
  const size_t size = in_pages(bytes), slack = size >= kHugePage ? kHugePage : 0;
  void* mapped =
      mmap(nullptr, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  if (slack == 0) return mapped;
  auto* const begin = static_cast<std::byte*>(mapped);
  const size_t before = -reinterpret_cast<uintptr_t>(begin) % kHugePage;
  if (before != 0) munmap(begin, before);
  if (before != slack) munmap(begin + before + size, slack - before);
  madvise(begin + before, size, MADV_HUGEPAGE);  // refused: small ones
  return begin + before;
}

void touch_pages(void* first, size_t bytes) noexcept {
  auto* const at = static_cast<volatile std::byte*>(first);
  for (size_t i = 0; i < bytes; i += kPage) at[i] = at[i];
}

void unmap_pages(void* first, size_t bytes) noexcept { munmap(first, in_pages(bytes)); }

}  // namespace sluice
