// The latest answers of prefix maps by exact address, in front of the walks: packets come in flows, so most addresses
// of a burst were looked up a moment ago, and a remembered answer costs one load. A flood of ever new addresses costs
// that load more. One worker's thread only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/lookup/prefix_map.h"

namespace sluice {

class RecentLookups {
 public:
  RecentLookups() noexcept { forget(); }

  // Answers are kept by the map's root: whenever a map may have been freed since the last call, they have to go.
  void forget() noexcept;

  // As PrefixView's.
  void find_burst_ipv4(const PrefixView& map, std::span<const void* const> addresses,
                       std::span<uint32_t> values) noexcept;
  void find_burst_ipv6(const PrefixView& map, std::span<const void* const> addresses,
                       std::span<uint32_t> values) noexcept;

 private:
  __extension__ typedef unsigned __int128 uint128;

  template <class Address>  // as it lies in memory
  struct Answer {
    Address address = 0;
    uint32_t value = PrefixView::kNone;
    uintptr_t map = 0;  // the root; 0: of an empty map, whose answer is none
  };
  static_assert(sizeof(Answer<uint32_t>) == 16 && sizeof(Answer<uint128>) == 32);

  static constexpr size_t kAnswers = 1024;  // directly mapped
  std::array<Answer<uint32_t>, kAnswers> ipv4_;
  std::array<Answer<uint128>, kAnswers> ipv6_;

  template <class Address, class Walk>
  static void find_burst(std::array<Answer<Address>, kAnswers>& answers, uintptr_t map,
                         std::span<const void* const> addresses, std::span<uint32_t> values, Walk walk) noexcept;
};

}  // namespace sluice
