#include "dataplane/session/slab.h"

#include <atomic>
#include <new>

#include "dataplane/session/huge_pages.h"
#include "dataplane/session/poison.h"

namespace sluice {
namespace {

constinit std::atomic<size_t> all_bytes{0};

}  // namespace

size_t Slab::bytes_in_use() noexcept { return all_bytes.load(std::memory_order_relaxed); }

void* Slab::allocate() {
  const std::lock_guard lock(mutex_);
  void* object = unused_;
  if (object != nullptr) {
    permit(object, size_);
    unused_ = unused_->next;
  } else {
    if (left_ < size_) {
      fresh_ = static_cast<std::byte*>(map_pages(kHugePage));
      left_ = kHugePage;
    }
    object = fresh_;
    fresh_ += size_;
    left_ -= size_;
  }
  all_bytes.fetch_add(size_, std::memory_order_relaxed);
  return object;
}

void Slab::release(void* object) noexcept {
  if (object == nullptr) return;
  const std::lock_guard lock(mutex_);
  unused_ = new (object) Unused{unused_};
  forbid(object, size_);
  all_bytes.fetch_sub(size_, std::memory_order_relaxed);
}

}  // namespace sluice
