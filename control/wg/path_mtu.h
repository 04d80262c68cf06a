// The MTU of the path to one peer's endpoint, where it is less than Linux's route says: what routers reported, for ten
// minutes (RFC 8201, section 4), and what probing found (path_search.h). Sizes are of outer IP packets. Pure.
#pragma once

#include <algorithm>
#include <cstdint>

#include "control/wg/path_search.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/net.h"

namespace sluice {

// Below this nothing is gained and much is lost: IPv6 has no narrower links, and over IPv4 routers split our packets,
// whose DF is clear. So nobody can shrink a path further.
inline constexpr uint16_t kMinPathMtu = 1280;
inline constexpr Nanoseconds kPathMtuLifetime = std::chrono::minutes(10);

struct PathMtu {
  uint16_t route = 0;  // as Linux has it, without what we learned; 0: no route known
  uint16_t reported = UINT16_MAX;
  MonoTime reported_until;
  PathSearch search;

  // What a router reported (parse_path_report). True: that is news.
  bool lower(uint16_t mtu, Family family, MonoTime now) noexcept {
    // RFC 8201, section 4: a report of less than IPv6's minimum is discarded.
    if (mtu < kMinPathMtu && family == Family::kIpv6) return false;
    mtu = std::max(mtu, kMinPathMtu);
    if (mtu >= limit()) return false;
    reported = mtu;
    reported_until = now + kPathMtuLifetime;
    return true;
  }
  void expire(MonoTime now) noexcept {
    if (!reported_until.is_never() && now >= reported_until) forget_report();
  }
  void forget_report() noexcept {
    reported = UINT16_MAX;
    reported_until = {};
  }
  // 0: nobody knows a limit.
  uint16_t limit() const noexcept {
    const uint16_t learned = std::min(reported, search.limit());
    return route == 0 ? (learned == UINT16_MAX ? uint16_t{0} : learned) : std::min(route, learned);
  }
  MonoTime deadline() const noexcept {  // never: nothing will be due
    const MonoTime a = reported_until, b = search.deadline();
    return a.is_never() ? b : b.is_never() ? a : std::min(a, b);
  }
};

}  // namespace sluice
