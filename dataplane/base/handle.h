// Handle<T, Free>: a unique_ptr for a C library's object, one pointer wide. Example: Handle<rte_ring, rte_ring_free>.
#pragma once

#include <memory>

namespace sluice {

template <auto Free>
struct Releaser {
  void operator()(auto* p) const noexcept { Free(p); }
};

template <class T, auto Free>
using Handle = std::unique_ptr<T, Releaser<Free>>;

}  // namespace sluice
