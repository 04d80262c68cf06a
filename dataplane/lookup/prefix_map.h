// Longest-prefix match from addresses of both families to 32-bit values, shared by allowed IPs (value: peer slot) and
// the forwarding table (value: next hop). One writer (control) changes it by path copying: an update copies a handful
// of nodes and yields a new root, whatever the size of the map; readers hold a View of some root and never wait. Nodes
// that a new root no longer reaches are handed out by take_garbage() and freed after a grace period.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "dataplane/base/net.h"

namespace sluice {

struct PrefixNode;  // prefix_map.cc

class PrefixView {  // a pair of pointers: copy it freely; valid while the root it was taken from is not freed
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  PrefixView() = default;

  // Workers: no heap, no exception. `address`: 4 or 16 bytes in network order.
  uint32_t find_ipv4(const void* address) const noexcept;
  uint32_t find_ipv6(const void* address) const noexcept;
  uint32_t find(const IpAddress& address) const noexcept;
  // Burst forms: walk all addresses level by level, so that their cache misses overlap. addresses.size() <= 256.
  void find_burst_ipv4(std::span<const void* const> addresses, std::span<uint32_t> values) const noexcept;
  void find_burst_ipv6(std::span<const void* const> addresses, std::span<uint32_t> values) const noexcept;

 private:
  friend class PrefixMap;
  const PrefixNode* ipv4_ = nullptr;
  const PrefixNode* ipv6_ = nullptr;
};

// Nodes out of reach of the newest root; destroy it only after a grace period.
class PrefixGarbage {
 public:
  PrefixGarbage() = default;
  PrefixGarbage(PrefixGarbage&&) noexcept;
  PrefixGarbage& operator=(PrefixGarbage&&) noexcept;
  ~PrefixGarbage();
  bool empty() const { return nodes_.empty(); }

 private:
  friend class PrefixMap;
  std::vector<const PrefixNode*> nodes_;
};

class PrefixMap {  // control only
 public:
  PrefixMap();
  ~PrefixMap();  // frees everything it still reaches: no reader may be left
  PrefixMap(const PrefixMap&) = delete;
  PrefixMap& operator=(const PrefixMap&) = delete;

  // The value that the exact prefix had before, if any.
  std::optional<uint32_t> insert(const Prefix& prefix, uint32_t value);
  std::optional<uint32_t> erase(const Prefix& prefix);
  std::optional<uint32_t> exact(const Prefix& prefix) const;
  size_t size() const noexcept;

  PrefixView view() const noexcept;  // of the newest root
  PrefixGarbage take_garbage();      // what became unreachable since the last call

 private:
  PrefixView root_;
  size_t size_ = 0;
  PrefixGarbage garbage_;
};

}  // namespace sluice
