// Sources that cannot be a host on the wire (RFC 1812, section 5.3.7; RFC 4291), among them our own addresses. Nothing
// may ever be answered to them.
#pragma once

#include "dataplane/base/equal_bytes.h"
#include "dataplane/pipeline/line.h"

namespace sluice {

inline bool is_no_source_ipv4(const uint8_t* a) noexcept {
  const bool broadcast = a[0] == 255 && a[1] == 255 && a[2] == 255 && a[3] == 255;
  return a[0] == 0 || a[0] == 127 || (a[0] >= 224 && a[0] < 240) || broadcast;
}

// Unspecified and loopback, v4-mapped (RFC 4942, section 2.2), multicast.
inline bool is_no_source_ipv6(const uint8_t* a) noexcept {
  static constexpr uint8_t kZeros[15]{};
  static constexpr uint8_t kMapped[12]{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return a[0] == 0xff || equal_bytes<12>(a, kMapped) || (equal_bytes<15>(a, kZeros) && a[15] <= 1);
}

inline bool is_no_source(rte_mbuf* m) noexcept {
  const auto* address = static_cast<const uint8_t*>(address_of(m, Side::kSource));
  return family_of(m) == Family::kIpv4 ? is_no_source_ipv4(address) : is_no_source_ipv6(address);
}

// A router never passes on what comes from a link-local address (RFC 4291, section 2.5.6).
inline bool is_ipv6_link_local_source(rte_mbuf* m) noexcept {
  if (family_of(m) != Family::kIpv6) return false;
  const auto* a = static_cast<const uint8_t*>(address_of(m, Side::kSource));
  return a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
}

// All of fe80::/10 is local in the table: it cannot tell our own link-local addresses from a neighbour's.
inline bool is_martian_source(const WorkerContext& context, rte_mbuf* m) noexcept {
  return is_no_source(m) || (is_local(context, m, Side::kSource) && !is_ipv6_link_local_source(m));
}

// Whether the route to a packet's source is one that the port it came from believes (Published::checks_reverse_path).
bool leads_back(const Published& published, rte_mbuf* m) noexcept;  // forward.cc

// Drop::count_: nothing wrong with the source.
inline Drop source_fault(const WorkerContext& context, rte_mbuf* m) noexcept {
  if (is_martian_source(context, m)) return Drop::martian_source;
  if (context.published->checks_reverse_path && !leads_back(*context.published, m)) [[unlikely]]
    return Drop::reverse_path;
  return Drop::count_;
}

}  // namespace sluice
