#include "dataplane/pipeline/source_check.h"

#include <algorithm>

#include "dataplane/base/equal_bytes.h"
#include "dataplane/pipeline/line.h"

namespace sluice {
namespace {

bool is_no_source_ipv4(const uint8_t* a) noexcept {
  const bool broadcast = a[0] == 255 && a[1] == 255 && a[2] == 255 && a[3] == 255;
  return a[0] == 0 || a[0] == 127 || (a[0] >= 224 && a[0] < 240) || broadcast;
}

// Unspecified and loopback, v4-mapped (RFC 4942, section 2.2), multicast.
bool is_no_source_ipv6(const uint8_t* a) noexcept {
  static constexpr uint8_t kZeros[15]{};
  static constexpr uint8_t kMapped[12]{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return a[0] == 0xff || equal_bytes<12>(a, kMapped) || (equal_bytes<15>(a, kZeros) && a[15] <= 1);
}

// All of fe80::/10 is local in the table: it cannot tell our own link-local addresses from a neighbour's.
bool is_martian(const Fib& fib, rte_mbuf* m) noexcept {
  const auto* source = static_cast<const uint8_t*>(address_of(m, Side::kSource));
  if (family_of(m) == Family::kIpv4) return is_no_source_ipv4(source) || fib.is_local_ipv4(source);
  return is_no_source_ipv6(source) || (fib.is_local_ipv6(source) && !is_ipv6_link_local_source(m));
}

bool is_way_back(const NextHop& hop, ReversePath asked, PortId in) noexcept {
  using Action = NextHop::Action;
  if (asked == ReversePath::kSamePort)
    return (hop.action == Action::kPort || hop.action == Action::kUnresolved) && hop.port == in;
  return hop.action != Action::kUnreachable && hop.action != Action::kBlackhole && hop.action != Action::kProhibit;
}

bool leads_back(const Published& published, rte_mbuf* m) noexcept {
  const PortId in = meta(m).from.in_port;
  if (in.value >= published.ports.size() || is_ipv6_link_local_source(m)) return true;
  const ReversePath asked = published.ports[in.value].reverse_path;
  if (asked == ReversePath::kAny) return true;
  const void* source = address_of(m, Side::kSource);
  const PrefixView& routes = published.fib.routes();
  const bool ipv4 = family_of(m) == Family::kIpv4;
  const uint32_t value = ipv4 ? routes.find_ipv4(source) : routes.find_ipv6(source);
  const auto is_back = [&](const NextHop& back) { return is_way_back(back, asked, in); };
  const NextHopGroup* several = published.fib.group(value);
  if (several == nullptr) return is_back(published.fib.at(value));
  return std::any_of(several->hops.begin(), several->hops.end(),
                     [&](uint32_t hop) { return is_back(published.fib.at(hop)); });
}

}  // namespace

bool is_ipv6_link_local_source(rte_mbuf* m) noexcept {
  if (family_of(m) != Family::kIpv6) return false;
  const auto* source = static_cast<const uint8_t*>(address_of(m, Side::kSource));
  return source[0] == 0xfe && (source[1] & 0xc0) == 0x80;
}

Drop source_fault(const WorkerContext& context, rte_mbuf* m) noexcept {
  const Published& published = *context.published;
  if (is_martian(published.fib, m)) return Drop::martian_source;
  return !published.checks_reverse_path || leads_back(published, m) ? Drop::count_ : Drop::reverse_path;
}

}  // namespace sluice
