#include "dataplane/forward/fib.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(Fib, FindsTheNextHopOfTheLongestPrefix) {
  PrefixMap routes;
  routes.insert(*parse_prefix("0.0.0.0/0"), 0);
  routes.insert(*parse_prefix("10.0.0.0/8"), 1);
  const std::array<NextHop, 2> next_hops = {NextHop{.action = NextHop::Action::kLinux},
                                            NextHop{.action = NextHop::Action::kTunnel, .tunnel = TunnelId{3}}};
  const Fib fib(routes.view(), next_hops);
  EXPECT_EQ(&fib.find(*parse_address("10.1.2.3")), &next_hops[1]);
  EXPECT_EQ(&fib.find(*parse_address("11.1.2.3")), &next_hops[0]);
}

TEST(Fib, GroupsShareByHash) {
  PrefixMap routes;
  routes.insert(*parse_prefix("10.0.0.0/8"), Fib::kGroup | 0);
  routes.insert(*parse_prefix("11.0.0.0/8"), Fib::kGroup | 1);  // beyond the groups: as good as no route
  const std::array<NextHop, 2> next_hops = {NextHop{.action = NextHop::Action::kLinux},
                                            NextHop{.action = NextHop::Action::kLocal}};
  std::array<NextHopGroup, 1> groups;
  groups[0].hops[63] = 1;
  const LocalAddresses local;
  const Fib fib(routes.view(), next_hops, local, groups);
  EXPECT_EQ(&fib.find(*parse_address("10.1.2.3"), 64 + 62), &next_hops[0]);
  EXPECT_EQ(&fib.find(*parse_address("10.1.2.3"), 64 + 63), &next_hops[1]);
  EXPECT_EQ(fib.find(*parse_address("11.1.2.3"), 63).action, NextHop::Action::kUnreachable);
}

TEST(Fib, WhatNoRouteLeadsToIsUnreachable) {
  PrefixMap routes;
  routes.insert(*parse_prefix("10.0.0.0/8"), 7);  // beyond the next hops: as good as no route
  const Fib fib(routes.view(), {});
  for (const char* text : {"10.1.2.3", "11.1.2.3", "2001:db8::1"})
    EXPECT_EQ(fib.find(*parse_address(text)).action, NextHop::Action::kUnreachable) << text;
  EXPECT_EQ(Fib().find(*parse_address("10.1.2.3")).action, NextHop::Action::kUnreachable);
}

}  // namespace
}  // namespace sluice
