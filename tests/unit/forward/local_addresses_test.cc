#include "dataplane/forward/local_addresses.h"

#include <gtest/gtest.h>

#include "dataplane/forward/fib.h"
#include "tests/support/seeded_rng.h"

namespace sluice {
namespace {

using Answer = LocalAddresses::Answer;

std::vector<Prefix> prefixes(std::initializer_list<const char*> texts) {
  std::vector<Prefix> all;
  for (const char* text : texts) all.push_back(*parse_prefix(text));
  return all;
}

Answer find(const LocalAddresses& local, const char* text) {
  const IpAddress address = *parse_address(text);
  return address.is_ipv4() ? local.find_ipv4(address.bytes.data()) : local.find_ipv6(address.bytes.data());
}

TEST(LocalAddresses, HostsAreAnsweredForExactly) {
  const LocalAddresses local(prefixes({"198.51.100.1/32", "10.1.255.255/32", "2001:db8::1/128"}));
  for (const char* own : {"198.51.100.1", "10.1.255.255", "2001:db8::1"})
    EXPECT_EQ(find(local, own), Answer::kYes) << own;
  for (const char* other : {"198.51.100.2", "10.1.255.254", "0.0.0.0", "2001:db8::2", "2001:db8:0:1::1", "::", "::1"})
    EXPECT_EQ(find(local, other), Answer::kNo) << other;
}

TEST(LocalAddresses, WiderPrefixesAreAskedAboutByTheirFirstByte) {
  const LocalAddresses local(prefixes({"127.0.0.0/8", "224.0.0.0/4", "fe80::/10", "10.9.0.0/16"}));
  for (const char* text : {"127.0.0.1", "224.0.0.1", "239.255.255.255", "fe80::1", "fec0::1", "10.1.0.1"})
    EXPECT_EQ(find(local, text), Answer::kAsk) << text;
  for (const char* text : {"126.0.0.1", "223.0.0.1", "240.0.0.1", "fd80::1", "11.9.0.1"})
    EXPECT_EQ(find(local, text), Answer::kNo) << text;
}

// Nothing is known, or everything is local, or the address cannot be told from an empty place.
TEST(LocalAddresses, WhatIsNotKnownIsAskedAbout) {
  EXPECT_EQ(find(LocalAddresses(), "10.1.2.3"), Answer::kAsk);
  EXPECT_EQ(find(LocalAddresses(), "fd00::1"), Answer::kAsk);
  EXPECT_EQ(find(LocalAddresses(prefixes({"0.0.0.0/0"})), "255.1.2.3"), Answer::kAsk);
  EXPECT_EQ(find(LocalAddresses(prefixes({"::/128"})), "::"), Answer::kAsk);
  EXPECT_EQ(find(LocalAddresses(std::span<const Prefix>()), "10.1.2.3"), Answer::kNo);
}

// The short cut and the table behind it never disagree with the table alone.
TEST(LocalAddresses, TheFibAnswersAsItsRoutesDo) {
  using Action = NextHop::Action;
  const std::vector<NextHop> hops{{.action = Action::kLocal}, {.action = Action::kTunnel}};
  test::SeededRng rng(7);
  PrefixMap routes;
  std::vector<Prefix> local;
  const auto random_address = [&rng] {  // of few different bytes, so that they meet
    std::array<uint8_t, 16> bytes;
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(rng.below(3));
    return rng.below(2) != 0 ? IpAddress::ipv4(bytes.data()) : IpAddress::ipv6(bytes.data());
  };
  for (int i = 0; i < 400; ++i) {
    const IpAddress address = random_address();
    const Prefix prefix = Prefix::make(address, rng.below(3) != 0 ? address.bits() : rng.below(address.bits() + 1));
    const bool is_local = rng.below(2) != 0 && prefix.length >= 8;
    if (routes.exact(prefix)) continue;
    routes.insert(prefix, is_local ? 0 : 1);
    if (is_local) local.push_back(prefix);
  }
  const LocalAddresses addresses(local);
  const Fib with(routes.view(), hops, addresses), without(routes.view(), hops);
  unsigned found = 0;
  for (int i = 0; i < 100'000; ++i) {
    const IpAddress address = random_address();
    const bool expected = without.find(address).action == Action::kLocal;
    const auto is_local = [&](const Fib& fib) {
      return address.is_ipv4() ? fib.is_local_ipv4(address.bytes.data()) : fib.is_local_ipv6(address.bytes.data());
    };
    ASSERT_EQ(is_local(with), expected) << to_string(address);
    ASSERT_EQ(is_local(without), expected) << to_string(address);
    found += expected;
  }
  EXPECT_GT(found, 1000u);
}

}  // namespace
}  // namespace sluice
