// Longest-prefix match from addresses of both families to 32-bit values, shared by allowed IPs (value: peer slot) and
// the forwarding table (value: next hop). One writer (control) changes it by path copying: an update copies a handful
// of nodes and yields a new root, whatever the size of the map; readers hold a view of some root and never wait. Nodes
// that a new root no longer reaches are handed out by take_garbage() and freed after a grace period. Changes between
// two calls of view() are made in place where no view reaches, so a bulk load costs neither copies nor garbage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dataplane/base/net.h"

namespace sluice {

class PrefixView {  // a pair of pointers: copy it freely; valid while the root it was taken from is not freed
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  PrefixView() = default;

  // Workers: no heap, no exception. `address`: 4 or 16 bytes in network order.
  uint32_t find_ipv4(const void* address) const noexcept;
  uint32_t find_ipv6(const void* address) const noexcept;
  uint32_t find(const IpAddress& address) const noexcept;
  // Burst forms: walk all addresses level by level, so that their cache misses overlap. values[i] belongs to
  // addresses[i].
  void find_burst_ipv4(std::span<const void* const> addresses, std::span<uint32_t> values) const noexcept;
  void find_burst_ipv6(std::span<const void* const> addresses, std::span<uint32_t> values) const noexcept;

 private:
  friend class PrefixMap;
  uintptr_t ipv4_ = 0;  // prefix_trie::Link (prefix_node.h)
  uintptr_t ipv6_ = 0;
};

// Nodes out of reach of the newest root; destroy it only after a grace period.
class PrefixGarbage {
 public:
  PrefixGarbage() = default;
  PrefixGarbage(PrefixGarbage&&) noexcept = default;
  PrefixGarbage& operator=(PrefixGarbage&&) noexcept;
  ~PrefixGarbage();
  bool empty() const noexcept { return nodes_.empty(); }
  size_t size() const noexcept { return nodes_.size(); }  // nodes

 private:
  friend class PrefixMap;
  std::vector<uintptr_t> nodes_;  // prefix_trie::Link
};

class PrefixMap {  // control only
 public:
  PrefixMap() = default;
  ~PrefixMap();  // frees everything it still reaches: no reader may be left
  PrefixMap(const PrefixMap&) = delete;
  PrefixMap& operator=(const PrefixMap&) = delete;

  // The value that the exact prefix had before, if any.
  std::optional<uint32_t> insert(const Prefix& prefix, uint32_t value);
  std::optional<uint32_t> erase(const Prefix& prefix);
  std::optional<uint32_t> exact(const Prefix& prefix) const;
  size_t size() const noexcept { return size_; }

  // Of the newest root. From here on its nodes are copied before they are changed.
  PrefixView view() noexcept {
    ++epoch_;
    return root_;
  }
  PrefixGarbage take_garbage();  // what became unreachable since the last call

 private:
  uintptr_t& root_of(const Prefix& prefix) { return prefix.address.is_ipv4() ? root_.ipv4_ : root_.ipv6_; }

  PrefixView root_;
  size_t size_ = 0;
  // Stamped on every new node; a node of the present epoch is in no view yet.
  uint64_t epoch_ = 1;
  PrefixGarbage garbage_;
};

}  // namespace sluice
