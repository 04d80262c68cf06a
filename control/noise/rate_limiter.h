// Token bucket per source of handshake messages, as Linux has it: 20 messages a second, bursts of 5, a source being an
// IPv4 address or the upper 64 bits of an IPv6 address. Judges only sources that proved their address with a mac2.
// Control thread only.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>

#include "dataplane/base/clock.h"
#include "dataplane/base/net.h"
#include "dataplane/base/random.h"

namespace sluice {

class RateLimiter {
 public:
  static constexpr size_t kMaxSources = 65536;                         // both families together
  static constexpr Nanoseconds kCost = std::chrono::milliseconds(50);  // of one message
  static constexpr Nanoseconds kMaxCredit = 5 * kCost;
  static constexpr Nanoseconds kIdleAfter = std::chrono::seconds(1);

  explicit RateLimiter(Rng& rng) noexcept;  // draws the key of the hash: sources cannot choose to collide

  // Takes the cost of one message from the source's credit. False: over the limit, or a new source while kMaxSources
  // are active. Constant time whatever the number of sources: each call forgets at most a few idle ones.
  [[nodiscard]] bool allow(const IpAddress& source, MonoTime now);

  // Forgets every idle source, to give memory back. An idle source has its full credit, so this changes no answer.
  void collect(MonoTime now);

  size_t sources() const noexcept { return by_age_.size(); }

 private:
  struct Source {
    uint64_t prefix;  // as it stands in memory: an IPv4 address, or half an IPv6 one
    Family family;
    bool operator==(const Source&) const = default;
  };
  struct Bucket {
    Source source;
    MonoTime last_seen;
    Nanoseconds credit;
  };
  struct SourceHash {
    std::array<unsigned char, 16> key;
    size_t operator()(const Source& source) const noexcept;
  };
  using Buckets = std::list<Bucket>;

  static Source source_of(const IpAddress& address) noexcept;
  void forget_idle(MonoTime now, size_t at_most);

  Buckets by_age_;  // longest unseen first
  std::unordered_map<Source, Buckets::iterator, SourceHash> by_source_;
};

}  // namespace sluice
