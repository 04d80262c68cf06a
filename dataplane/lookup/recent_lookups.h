// The latest answers of prefix maps by exact address, in front of the walks: packets come in flows, so most addresses
// of a burst were looked up a moment ago, and a remembered answer costs one load. A flood of ever new addresses costs
// that load more. One worker's thread only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "dataplane/lookup/prefix_map.h"

namespace sluice {

class RecentLookups {
 public:
  RecentLookups() noexcept { forget(); }

  // Answers are kept by the map's root: whenever a map may have been freed since the last call, they have to go.
  void forget() noexcept;

  // What the map says of an address, 4 or 16 bytes in network order, as far as it is remembered.
  struct Remembered {
    uint32_t value;  // of some other address or map if not known
    bool known;
  };
  Remembered ipv4(const PrefixView& map, const void* address) const noexcept {
    return recall(ipv4_, map.ipv4_, address);
  }
  Remembered ipv6(const PrefixView& map, const void* address) const noexcept {
    return recall(ipv6_, map.ipv6_, address);
  }

  // As PrefixView's find_burst, for addresses that are not known; from now on they are.
  void learn_ipv4(const PrefixView& map, std::span<const void* const> addresses, std::span<uint32_t> values) noexcept {
    map.find_burst_ipv4(addresses, values);
    keep(ipv4_, map.ipv4_, addresses, values);
  }
  void learn_ipv6(const PrefixView& map, std::span<const void* const> addresses, std::span<uint32_t> values) noexcept {
    map.find_burst_ipv6(addresses, values);
    keep(ipv6_, map.ipv6_, addresses, values);
  }

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
  template <class Address>
  using Answers = std::array<Answer<Address>, kAnswers>;

  static constexpr uint64_t kFactor = 0x9e3779b97f4a7c15;  // 2^64 divided by the golden ratio (Knuth, section 6.4)
  static size_t place_of(uint32_t address) noexcept { return (address * kFactor >> 32) % kAnswers; }
  static size_t place_of(uint128 address) noexcept {
    const uint64_t low = static_cast<uint64_t>(address) * kFactor;
    return ((low + static_cast<uint64_t>(address >> 64)) * kFactor >> 32) % kAnswers;
  }

  template <class Address>
  static Remembered recall(const Answers<Address>& answers, uintptr_t map, const void* at) noexcept {
    Address address;
    std::memcpy(&address, at, sizeof address);
    const Answer<Address>& answer = answers[place_of(address)];
    return {answer.value, answer.address == address && answer.map == map};
  }
  template <class Address>
  static void keep(Answers<Address>& answers, uintptr_t map, std::span<const void* const> addresses,
                   std::span<const uint32_t> values) noexcept;

  Answers<uint32_t> ipv4_;
  Answers<uint128> ipv6_;
};

}  // namespace sluice
