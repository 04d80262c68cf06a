#include "dataplane/lookup/recent_lookups.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/seeded_rng.h"

namespace sluice {
namespace {

IpAddress random_address(test::SeededRng& rng, bool ipv4) {  // of few different bytes, so that many come again
  std::array<uint8_t, 16> bytes;
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(rng.below(4) * 85);
  return ipv4 ? IpAddress::ipv4(bytes.data()) : IpAddress::ipv6(bytes.data());
}

using Find = void (RecentLookups::*)(const PrefixView&, std::span<const void* const>, std::span<uint32_t>) noexcept;

void expect_same_answers(RecentLookups& recent, const PrefixView& view, const std::vector<IpAddress>& addresses) {
  std::vector<const void*> pointers;
  for (const IpAddress& address : addresses) pointers.push_back(address.bytes.data());
  const bool ipv4 = !addresses.empty() && addresses[0].is_ipv4();
  const Find find = ipv4 ? &RecentLookups::find_burst_ipv4 : &RecentLookups::find_burst_ipv6;
  std::vector<uint32_t> values(addresses.size());
  (recent.*find)(view, pointers, values);
  for (size_t i = 0; i < addresses.size(); ++i)
    ASSERT_EQ(values[i], view.find(addresses[i])) << to_string(addresses[i]);
}

// Maps share one memory, the same addresses come again, in bursts of any size. Maps are freed, and others take their
// places in memory: answers have to be forgotten with them.
TEST(RecentLookups, AnswerAsTheMapsDo) {
  test::SeededRng rng(5);
  RecentLookups recent;
  for (int round = 0; round < 40; ++round) {
    const bool ipv4 = round % 4 < 2;
    PrefixMap maps[2];
    for (uint32_t i = 0; i < 300; ++i) {
      const IpAddress address = random_address(rng, ipv4);
      maps[i % 2].insert(Prefix::make(address, rng.below(address.bits() + 1)), i + 1000 * static_cast<uint32_t>(round));
    }
    const PrefixView views[]{maps[0].view(), maps[1].view(), PrefixView()};
    for (int burst = 0; burst < 100; ++burst) {
      std::vector<IpAddress> addresses(rng.below(150));
      for (IpAddress& address : addresses) address = random_address(rng, ipv4);
      expect_same_answers(recent, views[rng.below(3)], addresses);
    }
    recent.forget();
  }
}

}  // namespace
}  // namespace sluice
