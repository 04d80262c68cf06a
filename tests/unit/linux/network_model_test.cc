#include "control/linux/network_model.h"

#include <gtest/gtest.h>

#include "tests/unit/linux/sketch.h"

namespace sluice {
namespace {

using namespace test;
using Insert = NetworkModel::Insert;

class NetworkModelTest : public testing::Test {
 protected:
  NetworkModelTest() {
    put_links(model_);
    model_.take_changes();
  }
  std::string gateway(std::string_view prefix) {
    const Route* route = model_.best(net(prefix));
    return route == nullptr ? "none" : to_string(route->hops.at(0).gateway);
  }
  NetworkModel model_;
};

TEST_F(NetworkModelTest, NotesExactlyWhatChanged) {
  put_address(model_, kLan, "10.1.0.1/16");
  model_.put_route(via("10.1.0.0/16", kLan));
  put_neighbour(model_, kLan, "10.1.0.5", kHostMac);
  ModelChanges changes = model_.take_changes();
  EXPECT_FALSE(changes.links);
  EXPECT_EQ(changes.addresses, std::set<IpAddress>{ip("10.1.0.1")});
  EXPECT_EQ(changes.routes, std::set<Prefix>{net("10.1.0.0/16")});
  EXPECT_EQ(changes.neighbours, (std::set<NeighbourKey>{{ip("10.1.0.5"), kLan}}));
  put_links(model_);
  put_address(model_, kLan, "10.1.0.1/16");
  model_.put_route(via("10.1.0.0/16", kLan));
  put_neighbour(model_, kLan, "10.1.0.5", kHostMac);
  EXPECT_TRUE(model_.take_changes().empty()) << "the same again is no change";
  model_.erase_route(via("10.9.0.0/16", kLan));
  model_.erase_neighbour({ip("10.1.0.9"), kLan});
  model_.erase_link(99);
  EXPECT_TRUE(model_.take_changes().empty()) << "neither is erasing what is not there";
  EXPECT_FALSE(model_.is_uncertain());
}

TEST_F(NetworkModelTest, RoutesOfEqualRankKeepLinuxsOrder) {
  model_.put_route(via("10.9.0.0/16", kWan, "198.51.100.2"));
  model_.put_route(via("10.9.0.0/16", kWan, "198.51.100.3"), Insert::kLast);
  model_.put_route(via("10.9.0.0/16", kWan, "198.51.100.9", 5));
  EXPECT_EQ(gateway("10.9.0.0/16"), "198.51.100.2");
  model_.put_route(via("10.9.0.0/16", kWan, "198.51.100.1"), Insert::kFirst);
  EXPECT_EQ(gateway("10.9.0.0/16"), "198.51.100.1");
  model_.erase_route(via("10.9.0.0/16", kWan, "198.51.100.1"));
  model_.erase_route(via("10.9.0.0/16", kWan, "198.51.100.2"));
  EXPECT_EQ(gateway("10.9.0.0/16"), "198.51.100.3");
  model_.put_route(via("10.9.0.0/16", kWan, "198.51.100.4"), Insert::kReplace);
  EXPECT_EQ(gateway("10.9.0.0/16"), "198.51.100.4");
  model_.erase_route(via("10.9.0.0/16", kWan, "198.51.100.4"));
  EXPECT_EQ(gateway("10.9.0.0/16"), "198.51.100.9");
  EXPECT_FALSE(model_.is_uncertain());
}

TEST_F(NetworkModelTest, WhatLinuxDoesInSilenceMakesItUncertain) {
  model_.put_link({kWan, "wan", false, 1500, kWanMac});
  EXPECT_TRUE(model_.is_uncertain()) << "a link that went down takes routes along";
  NetworkModel second;
  put_links(second);
  put_address(second, kLan, "10.1.0.1/16");
  second.erase_address({.interface = kLan, .address = {ip("10.1.0.1"), 16}});
  EXPECT_TRUE(second.is_uncertain()) << "so does an address";
  NetworkModel third;
  third.put_route(via("2001:db8:9::/48", kWan, "2001:db8::1"));
  third.erase_route(via("2001:db8:9::/48", kWan, "2001:db8::2"));
  EXPECT_TRUE(third.is_uncertain()) << "part of a route that was known otherwise";
  third.begin_resync();
  third.end_resync();
  EXPECT_FALSE(third.is_uncertain());
}

TEST_F(NetworkModelTest, AResyncKeepsTheOldStateUntilItsEndAndNotesTheDifference) {
  put_address(model_, kLan, "10.1.0.1/16");
  put_address(model_, kLan, "10.1.0.2/16");
  model_.put_route(via("10.2.0.0/16", kWg0));
  model_.put_route(via("10.3.0.0/16", kWg0));
  put_neighbour(model_, kLan, "10.1.0.5", kHostMac);
  put_neighbour(model_, kLan, "10.1.0.6", kHostMac);
  model_.take_changes();

  model_.begin_resync();
  put_links(model_);
  put_address(model_, kLan, "10.1.0.1/16");
  put_address(model_, kLan, "10.1.0.2/16");
  model_.put_route(via("10.3.0.0/16", kWg0), Insert::kLast);
  model_.put_route(via("10.4.0.0/16", kWg0), Insert::kLast);
  put_neighbour(model_, kLan, "10.1.0.6", kRouterMac);
  EXPECT_NE(model_.best(net("10.2.0.0/16")), nullptr);
  EXPECT_EQ(model_.best(net("10.4.0.0/16")), nullptr);
  EXPECT_EQ(model_.lookup(ip("10.4.0.1")), nullptr);
  EXPECT_TRUE(model_.take_changes().empty());
  model_.end_resync();

  EXPECT_EQ(model_.best(net("10.2.0.0/16")), nullptr);
  EXPECT_NE(model_.lookup(ip("10.4.0.1")), nullptr);
  const ModelChanges changes = model_.take_changes();
  EXPECT_FALSE(changes.links);
  EXPECT_TRUE(changes.addresses.empty());
  EXPECT_EQ(changes.routes, (std::set<Prefix>{net("10.2.0.0/16"), net("10.4.0.0/16")}));
  EXPECT_EQ(changes.neighbours, (std::set<NeighbourKey>{{ip("10.1.0.5"), kLan}, {ip("10.1.0.6"), kLan}}));
}

TEST_F(NetworkModelTest, LookupAsksTableLocalFirst) {
  model_.put_route(via("10.1.2.0/24", kLan));
  model_.put_route(via("10.1.0.0/16", kWan));
  EXPECT_EQ(model_.lookup(ip("10.1.2.3"))->hops[0].interface, kLan);
  EXPECT_EQ(model_.lookup(ip("10.1.3.3"))->hops[0].interface, kWan);
  EXPECT_EQ(model_.lookup(ip("10.2.0.1")), nullptr);
  EXPECT_EQ(model_.lookup(ip("2001:db8::1")), nullptr);
  model_.put_route(of_type("10.0.0.0/8", Route::Type::kLocal, Route::Table::kLocal));
  EXPECT_EQ(model_.lookup(ip("10.1.2.3"))->type, Route::Type::kLocal) << "however long a prefix of main is";
}

TEST_F(NetworkModelTest, LookupSkipsWhatItIsToldTo) {
  model_.put_route(via("0.0.0.0/0", kWan, "198.51.100.1", 100));
  model_.put_route(via("0.0.0.0/0", kWg0));
  const auto through_tunnel = [](const Route& r) { return r.hops.at(0).interface == kWg0; };
  EXPECT_EQ(model_.lookup(ip("8.8.8.8"))->hops[0].interface, kWg0);
  EXPECT_EQ(model_.lookup(ip("8.8.8.8"), through_tunnel)->hops[0].interface, kWan) << "the next metric";
}

constexpr auto kTable7 = static_cast<Route::Table>(7);

Route in_table(Route route, Route::Table table) {
  route.table = table;
  return route;
}

// Wg-quick's: everything without the tunnel's mark goes by table 7, unless table main knows better than a default
// route.
void put_wg_quick_rules(NetworkModel& model) {
  const Family ipv4 = Family::kIpv4;
  model.put_rule({.family = ipv4, .priority = 0, .table = Route::Table::kLocal});
  model.put_rule({.family = ipv4, .priority = 32764, .suppressed_length = 0});
  model.put_rule(
      {.family = ipv4, .priority = 32765, .table = kTable7, .mark = 51820, .mark_mask = UINT32_MAX, .inverted = true});
  model.put_rule({.family = ipv4, .priority = 32766});
}

TEST_F(NetworkModelTest, RulesSayWhichTables) {
  model_.put_route(via("0.0.0.0/0", kWan, "198.51.100.1"));
  model_.put_route(via("10.1.0.0/16", kLan));
  model_.put_route(in_table(via("0.0.0.0/0", kWg0), kTable7));
  EXPECT_FALSE(model_.has_policy());
  EXPECT_EQ(model_.lookup(ip("8.8.8.8"))->hops[0].interface, kWan) << "nobody asks table 7";
  model_.take_changes();
  put_wg_quick_rules(model_);
  EXPECT_TRUE(model_.take_changes().rules);
  EXPECT_TRUE(model_.has_policy());
  EXPECT_EQ(model_.lookup(ip("8.8.8.8"))->hops[0].interface, kWg0);
  EXPECT_EQ(model_.lookup(ip("10.1.2.3"))->hops[0].interface, kLan);
  EXPECT_EQ(model_.lookup({.destination = ip("8.8.8.8"), .mark = 51820})->hops[0].interface, kWan);
  EXPECT_EQ(model_.best(net("0.0.0.0/0"))->hops[0].interface, kWg0);
  EXPECT_EQ(model_.best(net("10.1.0.0/16"))->hops[0].interface, kLan);
}

TEST_F(NetworkModelTest, RulesBySourceFitOnlyKnownSources) {
  model_.put_rule({.family = Family::kIpv4, .priority = 10, .table = kTable7, .source = net("192.0.2.0/24")});
  model_.put_rule({.family = Family::kIpv4, .priority = 20});
  model_.put_route(via("0.0.0.0/0", kWan));
  model_.put_route(in_table(via("0.0.0.0/0", kLan), kTable7));
  const auto interface = [&](const Flow& flow) { return model_.lookup(flow)->hops[0].interface; };
  EXPECT_EQ(interface({.destination = ip("8.8.8.8")}), kWan);
  EXPECT_EQ(interface({.destination = ip("8.8.8.8"), .source = ip("192.0.2.9")}), kLan);
  EXPECT_EQ(interface({.destination = ip("8.8.8.8"), .source = ip("198.51.100.9")}), kWan);
}

TEST_F(NetworkModelTest, RulesThatAskForMoreAreNotFollowed) {
  const Rule rule{.family = Family::kIpv4, .priority = 10, .table = kTable7, .foreign = true};
  model_.put_route(in_table(via("0.0.0.0/0", kLan), kTable7));
  model_.put_rule(rule);
  EXPECT_EQ(model_.lookup(ip("8.8.8.8")), nullptr);
  EXPECT_FALSE(model_.has_policy());
  model_.erase_rule(rule);
  EXPECT_EQ(model_.rules(Family::kIpv4).size(), 3u) << "those that Linux starts with";
}

TEST_F(NetworkModelTest, RoutesFollowTheirNextHopObject) {
  model_.put_next_hop(1, {.hops = {{kWan, ip("198.51.100.1")}}});
  model_.put_next_hop(2, {.hops = {{kWan, ip("198.51.100.2")}}});
  model_.put_next_hop(9, {.members = {{1, 1}, {2, 3}}});
  Route route{.prefix = net("10.9.0.0/16"), .next_hop = 9};
  model_.put_route(route);
  EXPECT_EQ(model_.best(route.prefix)->hops,
            (std::vector<RouteHop>{{kWan, ip("198.51.100.1"), 1}, {kWan, ip("198.51.100.2"), 3}}));
  model_.take_changes();
  model_.put_next_hop(2, {.hops = {{kLan, ip("10.1.0.2")}}});
  EXPECT_EQ(model_.take_changes().routes, std::set<Prefix>{route.prefix});
  EXPECT_EQ(model_.best(route.prefix)->hops[1], (RouteHop{kLan, ip("10.1.0.2"), 3}));
  model_.put_next_hop(9, {.members = {{2, 1}}});
  EXPECT_EQ(model_.best(route.prefix)->hops, (std::vector<RouteHop>{{kLan, ip("10.1.0.2"), 1}}));
  model_.take_changes();
  model_.erase_next_hop(9);
  EXPECT_EQ(model_.best(route.prefix), nullptr);
  EXPECT_EQ(model_.take_changes().routes, std::set<Prefix>{route.prefix});
  model_.put_route(route);
  model_.erase_route(route);
  EXPECT_EQ(model_.best(route.prefix), nullptr) << "whatever the notification spells out";
}

TEST_F(NetworkModelTest, ChangesTellWhichDestinationsTheyTouch) {
  model_.put_route(via("10.2.0.0/16", kWg0));
  const ModelChanges changes = model_.take_changes();
  EXPECT_TRUE(changes.touches_route_to(ip("10.2.3.4")));
  EXPECT_FALSE(changes.touches_route_to(ip("10.3.3.4")));
}

}  // namespace
}  // namespace sluice
