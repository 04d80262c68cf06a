#include "dataplane/lookup/recent_lookups.h"

#include <algorithm>
#include <cstring>

namespace sluice {
namespace {

__extension__ typedef unsigned __int128 uint128;

constexpr size_t kChunk = 64;

constexpr uint64_t kFactor = 0x9e3779b97f4a7c15;  // 2^64 divided by the golden ratio (Knuth, section 6.4)

size_t hash(uint32_t address) noexcept { return address * kFactor >> 32; }

size_t hash(uint128 address) noexcept {
  return (static_cast<uint64_t>(address) * kFactor + static_cast<uint64_t>(address >> 64)) * kFactor >> 32;
}

}  // namespace

void RecentLookups::forget() noexcept {
  ipv4_.fill({});
  ipv6_.fill({});
}

template <class Address, class Walk>
void RecentLookups::find_burst(std::array<Answer<Address>, kAnswers>& answers, uintptr_t map,
                               std::span<const void* const> addresses, std::span<uint32_t> values, Walk walk) noexcept {
  while (!addresses.empty()) {
    const size_t count = std::min(kChunk, addresses.size());
    std::array<const void*, kChunk> unknown;
    std::array<uint8_t, kChunk> place;
    size_t missing = 0;
    for (size_t i = 0; i < count; ++i) {
      Address address;
      std::memcpy(&address, addresses[i], sizeof address);
      const Answer<Address>& answer = answers[hash(address) % kAnswers];
      values[i] = answer.value;
      unknown[missing] = addresses[i];
      place[missing] = static_cast<uint8_t>(i);
      missing += answer.address != address || answer.map != map;
    }
    if (missing != 0) {
      std::array<uint32_t, kChunk> found;
      walk(std::span<const void* const>(unknown.data(), missing), std::span<uint32_t>(found.data(), missing));
      for (size_t i = 0; i < missing; ++i) {
        Address address;
        std::memcpy(&address, unknown[i], sizeof address);
        answers[hash(address) % kAnswers] = {address, found[i], map};
        values[place[i]] = found[i];
      }
    }
    addresses = addresses.subspan(count);
    values = values.subspan(count);
  }
}

void RecentLookups::find_burst_ipv4(const PrefixView& map, std::span<const void* const> addresses,
                                    std::span<uint32_t> values) noexcept {
  find_burst(ipv4_, map.ipv4_, addresses, values,
             [&](auto unknown, auto found) { map.find_burst_ipv4(unknown, found); });
}

void RecentLookups::find_burst_ipv6(const PrefixView& map, std::span<const void* const> addresses,
                                    std::span<uint32_t> values) noexcept {
  find_burst(ipv6_, map.ipv6_, addresses, values,
             [&](auto unknown, auto found) { map.find_burst_ipv6(unknown, found); });
}

}  // namespace sluice
