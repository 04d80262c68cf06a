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

// A burst as the pipeline looks it up.
void expect_same_answers(RecentLookups& recent, const PrefixView& view, const std::vector<IpAddress>& addresses) {
  std::vector<const void*> unknown;
  for (const IpAddress& address : addresses) {
    const void* at = address.bytes.data();
    const auto [value, known] = address.is_ipv4() ? recent.ipv4(view, at) : recent.ipv6(view, at);
    if (known) {
      ASSERT_EQ(value, view.find(address)) << to_string(address);
    } else {
      unknown.push_back(at);
    }
  }
  if (unknown.empty()) return;
  const bool ipv4 = addresses[0].is_ipv4();
  std::vector<uint32_t> values(unknown.size());
  ipv4 ? recent.learn_ipv4(view, unknown, values) : recent.learn_ipv6(view, unknown, values);
  for (size_t i = 0; i < unknown.size(); ++i)
    ASSERT_EQ(values[i], ipv4 ? view.find_ipv4(unknown[i]) : view.find_ipv6(unknown[i]));
  const auto latest = ipv4 ? recent.ipv4(view, unknown.back()) : recent.ipv6(view, unknown.back());
  ASSERT_TRUE(latest.known);
  ASSERT_EQ(latest.value, values.back());
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
