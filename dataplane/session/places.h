// Objects that lie where their number says, so that their memory can be asked for before anything was looked at.
// Workers find them under RCU; control is the only writer: it makes them, publishes and withdraws them, and destroys
// them after a grace period, or when they were never published.
#pragma once

#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <new>

#include "dataplane/base/prefetch.h"
#include "dataplane/session/poison.h"
#include "dataplane/session/zero_pages.h"

namespace sluice {

template <class T>
class Places {
 public:
  // None is there. Memory is touched only where used.
  explicit Places(size_t count) : places_(count), published_((count + 63) / 64) {}
  ~Places() { permit(&places_[0], size() * sizeof(T)); }  // who made objects has destroyed them
  Places(const Places&) = delete;
  Places& operator=(const Places&) = delete;
  size_t size() const noexcept { return places_.size(); }

  // Workers and control. nullptr: none is published.
  T* find(size_t i) const noexcept {
    // Acquire: pairs with publish.
    const uint64_t published = published_[i / 64].load(std::memory_order_acquire);
    return ((published >> i % 64) & 1) != 0 ? &at(i) : nullptr;
  }
  void prefetch(size_t i) const noexcept { prefetch_far(&places_[i]); }  // the first line

  // Control only.
  T& make(size_t i) noexcept {
    permit(&places_[i], sizeof(T));
    return *new (&places_[i]) T;
  }
  T& at(size_t i) const noexcept {  // from make() to destroy()
    return *const_cast<T*>(reinterpret_cast<const T*>(places_[i].bytes));
  }
  void publish(size_t i) noexcept {
    assert(find(i) == nullptr);
    published_[i / 64].fetch_or(uint64_t{1} << i % 64, std::memory_order_release);  // pairs with the acquire in find()
  }
  void withdraw(size_t i) noexcept {  // readers may hold it until the grace period ends
    published_[i / 64].fetch_and(~(uint64_t{1} << i % 64), std::memory_order_release);
  }
  void destroy(size_t i) noexcept {
    assert(find(i) == nullptr);
    at(i).~T();
    forbid(&places_[i], sizeof(T));
  }

 private:
  struct alignas(T) Place {
    std::byte bytes[sizeof(T)];
  };
  ZeroPages<Place> places_;
  ZeroPages<std::atomic<uint64_t>> published_;  // a bit for each place
};

}  // namespace sluice
