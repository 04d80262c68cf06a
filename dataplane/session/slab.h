// Memory for the objects that a packet leads its worker to: sending keys, outer routes. With 100,000 peers each of
// them has long left the caches when it is met, so objects of one type lie close together, in huge pages. What is
// released is kept for the next object of the type. Any thread; in practice control's.
#pragma once

#include <cstddef>
#include <mutex>

namespace sluice {

class Slab {
 public:
  // Of objects of `size` bytes each: they are aligned to the largest power of two that divides it.
  explicit constexpr Slab(size_t size) noexcept : size_(size) {}
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  void* allocate();  // throws std::bad_alloc
  void release(void* object) noexcept;

  static size_t bytes_in_use() noexcept;  // of the objects of all slabs

 private:
  struct Unused {
    Unused* next;
  };

  const size_t size_;
  std::mutex mutex_;
  Unused* unused_ = nullptr;    // the last one released first: it may still be in a cache
  std::byte* fresh_ = nullptr;  // nothing was ever used from here on
  size_t left_ = 0;             // bytes there
};

}  // namespace sluice
