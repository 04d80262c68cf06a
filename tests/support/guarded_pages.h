// Memory between two pages that cannot be accessed: whoever reads or writes past either end faults.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <new>
#include <span>

namespace sluice::test {

class GuardedPages {
 public:
  explicit GuardedPages(size_t pages) : size_(pages * page_size()) {
    void* all = mmap(nullptr, size_ + 2 * page_size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) throw std::bad_alloc();
    start_ = static_cast<std::byte*>(all) + page_size();
    protect_from_writing(false);
  }
  GuardedPages(const GuardedPages&) = delete;
  GuardedPages& operator=(const GuardedPages&) = delete;
  ~GuardedPages() { munmap(start_ - page_size(), size_ + 2 * page_size()); }

  void protect_from_writing(bool on) {
    if (mprotect(start_, size_, on ? PROT_READ : PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
  }
  std::span<std::byte> first(size_t n) { return {start_, n}; }
  std::span<std::byte> last(size_t n) { return {start_ + size_ - n, n}; }

 private:
  static size_t page_size() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

  size_t size_;
  std::byte* start_ = nullptr;
};

}  // namespace sluice::test
