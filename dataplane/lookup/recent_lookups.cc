#include "dataplane/lookup/recent_lookups.h"

namespace sluice {

void RecentLookups::forget() noexcept {
  ipv4_.fill({});
  ipv6_.fill({});
}

template <class Address>
void RecentLookups::keep(Answers<Address>& answers, uintptr_t map, std::span<const void* const> addresses,
                         std::span<const uint32_t> values) noexcept {
  for (size_t i = 0; i < addresses.size(); ++i) {
    Address address;
    std::memcpy(&address, addresses[i], sizeof address);
    answers[place_of(address)] = {address, values[i], map};
  }
}

template void RecentLookups::keep(Answers<uint32_t>&, uintptr_t, std::span<const void* const>,
                                  std::span<const uint32_t>) noexcept;
template void RecentLookups::keep(Answers<uint128>&, uintptr_t, std::span<const void* const>,
                                  std::span<const uint32_t>) noexcept;

}  // namespace sluice
