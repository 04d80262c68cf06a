// An array of zeros straight from the system: its memory is only taken where it is touched, so a table may be laid out
// for the most that can ever be needed. T's all-zero bytes are its initial value.
#pragma once

#include <cstddef>
#include <type_traits>

#include "dataplane/session/huge_pages.h"

namespace sluice {

template <class T>
class ZeroPages {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  explicit ZeroPages(size_t count)  // throws std::bad_alloc
      : count_(count), first_(static_cast<T*>(map_pages(count * sizeof(T)))) {}
  ~ZeroPages() { unmap_pages(first_, count_ * sizeof(T)); }
  ZeroPages(const ZeroPages&) = delete;
  ZeroPages& operator=(const ZeroPages&) = delete;

  // Takes all of the memory now, for who has no time to wait for it later: to clear a huge page takes 0.1 ms and more.
  void take() noexcept { touch_pages(first_, count_ * sizeof(T)); }

  size_t size() const noexcept { return count_; }
  T& operator[](size_t i) noexcept { return first_[i]; }
  const T& operator[](size_t i) const noexcept { return first_[i]; }

 private:
  size_t count_;
  T* first_;
};

}  // namespace sluice
