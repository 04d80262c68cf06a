#include "control/linux/fib_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>

#include "dataplane/wire/ip.h"
#include "tests/unit/linux/sketch.h"

namespace sluice {
namespace {

using namespace test;
using Action = NextHop::Action;

std::string name_of(Action action) {
  constexpr const char* kNames[] = {"port",       "tunnel",      "local",    "linux",
                                    "unresolved", "unreachable", "prohibit", "blackhole"};
  return kNames[static_cast<size_t>(action)];
}

// "port 0 mac 02:aa:00:00:00:01", "tunnel 0", "local", ...
std::string text_of(const NextHop& hop) {
  std::string text = name_of(hop.action);
  if (hop.action == Action::kTunnel) text += " " + std::to_string(hop.tunnel.value);
  if (hop.action == Action::kPort || hop.action == Action::kUnresolved) text += " " + std::to_string(hop.port.value);
  if (hop.action == Action::kPort) {
    Mac to;
    std::memcpy(to.bytes.data(), hop.l2_header.data(), 6);
    text += " mac " + to_string(to);
  }
  return text;
}

// A site's gateway: wan with a default router, lan with hosts, a tunnel, a management interface that is not ours.
class FibBuilderTest : public testing::Test {
 protected:
  FibBuilderTest() {
    put_links(model_);
    put_address(model_, kWan, "198.51.100.10/24");
    put_address(model_, kWan, "2001:db8:1::10/64");
    put_address(model_, kWan, "fe80::2/64");
    put_address(model_, kLan, "10.1.0.1/16");
    put_address(model_, kWg0, "10.255.0.1/24");
    put_address(model_, kMgmt, "192.0.2.9/24");
    model_.put_route(of_type("127.0.0.0/8", Route::Type::kLocal, Route::Table::kLocal));
    model_.put_route(of_type("10.1.255.255/32", Route::Type::kBroadcast, Route::Table::kLocal));
    model_.put_route(via("198.51.100.0/24", kWan));
    model_.put_route(via("2001:db8:1::/64", kWan));
    model_.put_route(via("fe80::/64", kWan));
    model_.put_route(via("10.1.0.0/16", kLan));
    model_.put_route(via("10.255.0.0/24", kWg0));
    model_.put_route(via("10.2.0.0/16", kWg0));
    model_.put_route(via("2001:db8:2::/48", kWg0));
    model_.put_route(via("192.0.2.0/24", kMgmt));
    model_.put_route(via("0.0.0.0/0", kWan, "198.51.100.1"));
    model_.put_route(via("::/0", kWan, "fe80::1"));
    model_.put_route(of_type("203.0.113.0/24", Route::Type::kBlackhole));
    model_.put_route(of_type("203.0.114.0/24", Route::Type::kProhibit));
    model_.put_route(of_type("203.0.115.0/24", Route::Type::kUnreachable));
    put_neighbour(model_, kWan, "198.51.100.1", kRouterMac);
    put_neighbour(model_, kLan, "10.1.0.5", kHostMac, Neighbour::State::kStale);
  }

  bool update() { return builder_.update(model_, own_, model_.take_changes()); }
  const NextHop& hop(std::string_view to) {
    fib_ = builder_.fib();
    return fib_.find(ip(to));
  }
  std::string find(std::string_view to) { return text_of(hop(to)); }
  using Shares = std::map<std::string, unsigned>;  // of the flows, in buckets
  Shares shares(std::string_view to) {
    fib_ = builder_.fib();
    Shares found;
    for (uint32_t hash = 0; hash < NextHopGroup::kBuckets; ++hash) ++found[text_of(fib_.find(ip(to), hash))];
    return found;
  }
  bool is_as_looked_up(const NextHop& hop, const IpAddress& to) const {
    if (model_.is_own(to)) return hop.action == Action::kLocal;
    const Route* route = model_.lookup(to);
    if (route == nullptr) return hop.action == Action::kUnreachable;
    return std::any_of(route->hops.begin(), route->hops.end(), [&](const RouteHop& way) {
      if (own_.tunnels.contains(way.interface)) return hop.action == Action::kTunnel;
      if (!own_.ports.contains(way.interface)) return hop.action == Action::kLinux;
      const bool by_port = hop.action == Action::kPort || hop.action == Action::kUnresolved;
      return by_port && hop.port == own_.ports.at(way.interface) &&
             (hop.action == Action::kUnresolved || hop.gateway == (way.gateway.is_none() ? to : way.gateway));
    });
  }
  static Mac mac_of(std::string_view address) {
    Mac mac = kHostMac;
    mac.bytes[5] = ip(address).bytes[3];
    return mac;
  }

  NetworkModel model_;
  OwnInterfaces own_ = own_interfaces();
  FibBuilder builder_;
  Fib fib_;
};

TEST_F(FibBuilderTest, FramesInAVlanAreTagged) {
  own_.vlans[PortId(1)] = 120;
  ASSERT_TRUE(update());
  EXPECT_EQ(hop("8.8.8.8").l2_size, 14);
  const NextHop host = hop("10.1.0.5");
  ASSERT_EQ(host.l2_size, 18);
  const std::array<uint8_t, 6> tag_and_type = {0x81, 0, 0, 120, 8, 0};
  EXPECT_EQ(std::memcmp(host.l2_header.data(), kHostMac.bytes.data(), 6), 0);
  EXPECT_EQ(std::memcmp(host.l2_header.data() + 6, kLanMac.bytes.data(), 6), 0);
  EXPECT_EQ(std::memcmp(host.l2_header.data() + 12, tag_and_type.data(), 6), 0);
}

TEST_F(FibBuilderTest, SteersEachKindOfDestination) {
  ASSERT_TRUE(update());
  const std::pair<const char*, const char*> expected[] = {
      {"198.51.100.10", "local"},
      {"10.1.0.1", "local"},
      {"10.255.0.1", "local"},
      {"192.0.2.9", "local"},
      {"2001:db8:1::10", "local"},
      {"fe80::2", "local"},
      {"10.1.255.255", "local"},
      {"255.255.255.255", "local"},
      {"224.0.0.18", "local"},
      {"ff02::1", "local"},
      {"127.0.0.1", "local"},
      {"fe80::77", "local"},
      {"8.8.8.8", "port 0 mac 02:aa:00:00:00:01"},
      {"198.51.100.1", "port 0 mac 02:aa:00:00:00:01"},
      {"198.51.100.77", "unresolved 0"},
      {"10.1.0.5", "port 1 mac 02:bb:00:00:00:05"},
      {"10.1.0.6", "unresolved 1"},
      {"10.2.3.4", "tunnel 0"},
      {"10.255.0.9", "tunnel 0"},
      {"2001:db8:2::9", "tunnel 0"},
      {"192.0.2.77", "linux"},
      {"2001:db8:9::1", "unresolved 0"},
      {"203.0.113.1", "blackhole"},
      {"203.0.114.1", "prohibit"},
      {"203.0.115.1", "unreachable"},
  };
  for (const auto& [to, what] : expected) EXPECT_EQ(find(to), what) << to;
}

TEST_F(FibBuilderTest, NextHopsCarryWhatAWorkerNeeds) {
  model_.put_route([] {
    Route r = via("8.8.0.0/16", kWan, "198.51.100.1");
    r.mtu = 1400;
    return r;
  }());
  put_neighbour(model_, kWan, "fe80::1", kRouterMac);
  ASSERT_TRUE(update());
  const NextHop& v4 = hop("8.8.8.8");
  EthernetHeader ethernet;
  ASSERT_EQ(v4.l2_size, sizeof ethernet);
  std::memcpy(&ethernet, v4.l2_header.data(), sizeof ethernet);
  EXPECT_EQ(ethernet.destination, kRouterMac.bytes);
  EXPECT_EQ(ethernet.source, kWanMac.bytes);
  EXPECT_EQ(ethernet.ether_type.host(), kEtherTypeIpv4);
  EXPECT_EQ(v4.mtu, 1400);
  EXPECT_EQ(hop("9.9.9.9").mtu, 1500);
  EXPECT_EQ(hop("10.2.0.1").mtu, 1420);
  EXPECT_EQ(v4.gateway, ip("198.51.100.1"));
  EXPECT_TRUE(hop("10.1.0.6").gateway.is_none()) << "the destination itself is what is to be resolved";
  const NextHop& v6 = hop("2001:db8:9::1");
  std::memcpy(&ethernet, v6.l2_header.data(), sizeof ethernet);
  EXPECT_EQ(ethernet.ether_type.host(), kEtherTypeIpv6);
}

TEST_F(FibBuilderTest, Ipv4RouteByAnIpv6Gateway) {
  model_.put_route(via("100.64.0.0/10", kWan, "fe80::1"));
  put_neighbour(model_, kWan, "fe80::1", kRouterMac);
  ASSERT_TRUE(update());
  EXPECT_EQ(find("100.64.1.1"), "port 0 mac 02:aa:00:00:00:01");
  EthernetHeader ethernet;
  std::memcpy(&ethernet, hop("100.64.1.1").l2_header.data(), sizeof ethernet);
  EXPECT_EQ(ethernet.ether_type.host(), kEtherTypeIpv4);
}

TEST_F(FibBuilderTest, ANeighbourComesMovesAndGoes) {
  ASSERT_TRUE(update());
  EXPECT_FALSE(update()) << "nothing changed";
  put_neighbour(model_, kLan, "10.1.0.6", kHostMac);
  ASSERT_TRUE(update());
  EXPECT_EQ(find("10.1.0.6"), "port 1 mac 02:bb:00:00:00:05");
  put_neighbour(model_, kLan, "10.1.0.6", kRouterMac);
  ASSERT_TRUE(update());
  EXPECT_EQ(find("10.1.0.6"), "port 1 mac 02:aa:00:00:00:01");
  put_neighbour(model_, kLan, "10.1.0.6", {}, Neighbour::State::kFailed);
  ASSERT_TRUE(update());
  EXPECT_EQ(find("10.1.0.6"), "unresolved 1");
  put_neighbour(model_, kLan, "10.1.0.5", kHostMac, Neighbour::State::kReachable);
  EXPECT_FALSE(update()) << "fresher, but as before for the workers";
}

TEST_F(FibBuilderTest, AGatewayThatResolvesTurnsEveryRouteBehindItWithoutTouchingPrefixes) {
  ASSERT_TRUE(update());
  const size_t prefixes = builder_.prefixes();
  builder_.take_garbage();
  model_.erase_neighbour({ip("198.51.100.1"), kWan});
  ASSERT_TRUE(update());
  EXPECT_EQ(find("8.8.8.8"), "unresolved 0");
  EXPECT_EQ(hop("8.8.8.8").gateway, ip("198.51.100.1"));
  put_neighbour(model_, kWan, "198.51.100.1", kHostMac);
  ASSERT_TRUE(update());
  EXPECT_EQ(find("8.8.8.8"), "port 0 mac 02:bb:00:00:00:05");
  EXPECT_EQ(builder_.prefixes(), prefixes);
}

TEST_F(FibBuilderTest, ANeighbourOfAnotherInterfaceIsNotUsed) {
  put_neighbour(model_, kWan, "10.1.0.7", kRouterMac);
  ASSERT_TRUE(update());
  EXPECT_EQ(find("10.1.0.7"), "unresolved 1");
}

TEST_F(FibBuilderTest, HostEntriesFollowTheRouteAboveThem) {
  ASSERT_TRUE(update());
  model_.put_route(via("10.1.0.0/24", kWg0));
  ASSERT_TRUE(update());
  EXPECT_EQ(find("10.1.0.5"), "tunnel 0");
  model_.erase_route(via("10.1.0.0/24", kWg0));
  ASSERT_TRUE(update());
  EXPECT_EQ(find("10.1.0.5"), "port 1 mac 02:bb:00:00:00:05");
}

TEST_F(FibBuilderTest, AHostRouteOnLinkIsItsOwnNeighbour) {
  model_.put_route(via("172.16.0.9/32", kLan));
  ASSERT_TRUE(update());
  EXPECT_EQ(find("172.16.0.9"), "unresolved 1");
  put_neighbour(model_, kLan, "172.16.0.9", kHostMac);
  ASSERT_TRUE(update());
  EXPECT_EQ(find("172.16.0.9"), "port 1 mac 02:bb:00:00:00:05");
}

TEST_F(FibBuilderTest, TheSmallestMetricWithALiveLinkCounts) {
  model_.put_route(via("10.9.0.0/16", kWg0, {}, 200));
  model_.put_route(via("10.9.0.0/16", kMgmt, {}, 100));
  ASSERT_TRUE(update());
  EXPECT_EQ(find("10.9.0.1"), "linux");
  model_.put_link({kMgmt, "mgmt", false, 1500, {}});
  ASSERT_TRUE(update());
  EXPECT_EQ(find("10.9.0.1"), "tunnel 0");
  model_.erase_route(via("10.9.0.0/16", kWg0, {}, 200));
  ASSERT_TRUE(update());
  EXPECT_EQ(find("10.9.0.1"), "port 0 mac 02:aa:00:00:00:01") << "the default route";
}

TEST_F(FibBuilderTest, MultipathSharesTheFlowsByWeight) {
  Route route = via("10.9.0.0/16", kWan, "198.51.100.1");
  route.hops = {{kWan, ip("198.51.100.1"), 3}, {kWan, ip("198.51.100.2"), 1}, {kMgmt, ip("192.0.2.1"), 4}};
  put_neighbour(model_, kWan, "198.51.100.2", kHostMac);
  model_.put_route(route);
  ASSERT_TRUE(update());
  const std::string first = "port 0 mac 02:aa:00:00:00:01", second = "port 0 mac 02:bb:00:00:00:05";
  EXPECT_EQ(shares("10.9.0.1"), (Shares{{first, 24}, {second, 8}, {"linux", 32}}));
  model_.erase_link(kMgmt);
  ASSERT_TRUE(update());
  EXPECT_EQ(shares("10.9.0.1"), (Shares{{first, 48}, {second, 16}}));
  put_neighbour(model_, kWan, "198.51.100.1", {}, Neighbour::State::kFailed);
  ASSERT_TRUE(update());
  EXPECT_EQ(shares("10.9.0.1"), (Shares{{second, 64}})) << "who does not answer gets nothing";
  put_neighbour(model_, kWan, "198.51.100.2", {}, Neighbour::State::kFailed);
  ASSERT_TRUE(update());
  EXPECT_EQ(shares("10.9.0.1"), (Shares{{"unresolved 0", 64}})) << "unless nobody does";
  model_.erase_route(route);
  ASSERT_TRUE(update());
  EXPECT_EQ(builder_.fib().group(builder_.fib().routes().find(ip("10.9.0.1"))), nullptr);
}

TEST_F(FibBuilderTest, AHopMoreMovesFewFlows) {
  Route route = via("10.9.0.0/16", kWan, "198.51.100.1");
  route.hops = {{kWan, ip("198.51.100.1")}, {kWan, ip("198.51.100.2")}};
  for (const char* gateway : {"198.51.100.2", "198.51.100.3"}) put_neighbour(model_, kWan, gateway, mac_of(gateway));
  model_.put_route(route);
  update();
  std::vector<std::string> before;
  for (uint32_t hash = 0; hash < 64; ++hash) before.push_back(text_of(builder_.fib().find(ip("10.9.0.1"), hash)));
  route.hops.push_back({kWan, ip("198.51.100.3")});
  model_.put_route(route, NetworkModel::Insert::kReplace);
  update();
  unsigned moved = 0;
  for (uint32_t hash = 0; hash < 64; ++hash)
    moved += before[hash] != text_of(builder_.fib().find(ip("10.9.0.1"), hash));
  EXPECT_LE(moved, 33u) << "a half for two hops and one more: RFC 2992, section 3";
  EXPECT_GE(moved, 21u);
}

TEST_F(FibBuilderTest, NeighboursInUseAreNamed) {
  update();
  const auto at_first = builder_.take_neighbour_changes();
  EXPECT_TRUE(at_first.at({ip("198.51.100.1"), kWan}));
  EXPECT_TRUE(at_first.at({ip("fe80::1"), kWan}));
  EXPECT_TRUE(at_first.at({ip("10.1.0.5"), kLan}));
  model_.erase_route(via("0.0.0.0/0", kWan, "198.51.100.1"));
  put_neighbour(model_, kLan, "10.1.0.5", {}, Neighbour::State::kFailed);
  update();
  using Changes = std::map<NeighbourKey, bool>;
  EXPECT_EQ(builder_.take_neighbour_changes(), (Changes{{{ip("10.1.0.5"), kLan}, false}}));
  put_neighbour(model_, kWan, "198.51.100.1", {}, Neighbour::State::kFailed);
  update();
  EXPECT_EQ(builder_.take_neighbour_changes(), (Changes{{{ip("198.51.100.1"), kWan}, false}}))
      << "it was still a host on link";
}

TEST_F(FibBuilderTest, RulesDecideBetweenTables) {
  Route tunnelled = via("0.0.0.0/0", kWg0);
  tunnelled.table = static_cast<Route::Table>(7);
  model_.put_route(tunnelled);
  update();
  EXPECT_EQ(find("8.8.8.8"), "port 0 mac 02:aa:00:00:00:01");
  model_.put_rule({.family = Family::kIpv4, .priority = 0, .table = Route::Table::kLocal});
  model_.put_rule({.family = Family::kIpv4, .priority = 1, .suppressed_length = 0});
  model_.put_rule({.family = Family::kIpv4, .priority = 2, .table = tunnelled.table});
  ASSERT_TRUE(update());
  EXPECT_EQ(find("8.8.8.8"), "tunnel 0");
  EXPECT_EQ(find("10.1.0.5"), "port 1 mac 02:bb:00:00:00:05");
  EXPECT_EQ(find("203.0.113.1"), "blackhole");
  EXPECT_EQ(find("2001:4860::1"), "unresolved 0") << "rules are of one family";
}

TEST_F(FibBuilderTest, OwnAddressesGoBeforeRoutesAndLeaveThemBehind) {
  model_.put_route(via("10.2.0.7/32", kWg0));
  ASSERT_TRUE(update());
  EXPECT_EQ(find("10.2.0.7"), "tunnel 0");
  put_address(model_, kLan, "10.2.0.7/32");
  ASSERT_TRUE(update());
  EXPECT_EQ(find("10.2.0.7"), "local");
  model_.erase_address({.interface = kLan, .address = {ip("10.2.0.7"), 32}});
  ASSERT_TRUE(update());
  EXPECT_EQ(find("10.2.0.7"), "tunnel 0");
}

TEST_F(FibBuilderTest, PortsAndTunnelsComeAndGo) {
  ASSERT_TRUE(update());
  own_.tunnels.clear();
  ASSERT_TRUE(update());
  EXPECT_EQ(find("10.2.3.4"), "linux");
  own_.tunnels[kWg0] = TunnelId(7);
  ASSERT_TRUE(update());
  EXPECT_EQ(find("10.2.3.4"), "tunnel 7");
  own_.ports[kMgmt] = PortId(2);
  ASSERT_TRUE(update());
  EXPECT_EQ(find("192.0.2.77"), "unresolved 2");
}

TEST_F(FibBuilderTest, AMacOrMtuChangeOfAMirrorIsRendered) {
  ASSERT_TRUE(update());
  model_.put_link({kWan, "wan", true, 1400, kHostMac});
  ASSERT_TRUE(update());
  EXPECT_EQ(hop("8.8.8.8").mtu, 1400);
  EXPECT_EQ(std::memcmp(hop("8.8.8.8").l2_header.data() + 6, kHostMac.bytes.data(), 6), 0);
}

TEST_F(FibBuilderTest, AnEarlierTableStaysValidUntilItsGarbageIsDestroyed) {
  ASSERT_TRUE(update());
  const Fib before = builder_.fib();
  builder_.take_garbage();
  model_.erase_neighbour({ip("198.51.100.1"), kWan});
  model_.erase_route(via("10.2.0.0/16", kWg0));
  ASSERT_TRUE(update());
  const FibGarbage garbage = builder_.take_garbage();
  EXPECT_FALSE(garbage.empty());
  EXPECT_EQ(text_of(before.find(ip("8.8.8.8"))), "port 0 mac 02:aa:00:00:00:01");
  EXPECT_EQ(text_of(before.find(ip("10.2.0.1"))), "tunnel 0");
  EXPECT_EQ(find("8.8.8.8"), "unresolved 0");
  EXPECT_EQ(find("10.2.0.1"), "unresolved 0");
}

TEST_F(FibBuilderTest, AnEmptyMachineHasNoRoute) {
  NetworkModel empty;
  FibBuilder builder;
  ASSERT_TRUE(builder.update(empty, {}, empty.take_changes()));
  EXPECT_EQ(builder.fib().find(ip("8.8.8.8")).action, Action::kUnreachable);
  EXPECT_EQ(builder.fib().find(ip("224.0.0.1")).action, Action::kLocal);
}

// The steps must lead where a fresh builder gets at once, and where the model's own look-up leads: random changes, then
// every destination compared.
TEST_F(FibBuilderTest, StepsAndRebuildAgree) {
  std::mt19937 random(20261122);
  const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  const auto address = [&] { return "10." + std::to_string(below(3)) + ".0." + std::to_string(1 + below(6)); };
  const int interfaces[] = {kWan, kLan, kWg0, kMgmt};
  const Mac macs[] = {kRouterMac, kHostMac, kWanMac};
  update();
  for (int step = 0; step < 3000; ++step) {
    const int interface = interfaces[below(4)];
    const std::string prefix = address() + "/" + std::to_string(below(4) == 0 ? 32 : 8 * (1 + below(3)));
    Route route = via(prefix, interface, below(2) ? address() : "", below(3));
    if (below(4) == 0) route.hops.push_back({interfaces[below(4)], ip(address()), 2});
    if (below(3) == 0) route.table = static_cast<Route::Table>(7);
    const Rule rule{.family = Family::kIpv4,
                    .priority = 1 + below(3),
                    .table = below(2) ? route.table : Route::Table::kMain,
                    .destination = below(3) ? Prefix{} : net(below(2) ? "10.1.0.0/16" : "10.0.0.0/8"),
                    .suppressed_length = below(2) ? 8 : -1};
    const NeighbourKey neighbour{ip(address()), interface};
    switch (below(9)) {
      case 0:
        model_.put_route(route, NetworkModel::Insert::kReplace);
        break;
      case 1:
        model_.put_route(route, NetworkModel::Insert::kLast);
        break;
      case 2:
        model_.erase_route(route);
        break;
      case 3:
        model_.put_neighbour(neighbour, {Neighbour::State::kReachable, macs[below(3)]});
        break;
      case 4:
        model_.put_neighbour(neighbour, {Neighbour::State::kFailed, {}});
        break;
      case 5:
        put_address(model_, interface, address() + "/24");
        break;
      case 6:
        model_.erase_address({.interface = interface, .address = {ip(address()), 24}});
        break;
      case 7:
        if (below(4) == 0) model_.put_rule(rule);
        break;
      case 8:
        model_.erase_rule(rule);
        break;
    }
    if (below(3) != 0) continue;
    update();
    builder_.take_garbage();
    FibBuilder fresh;
    fresh.update(model_, own_, {});
    const Fib stepped = builder_.fib(), whole = fresh.fib();
    for (int net = 0; net < 3; ++net) {
      for (int host = 0; host < 8; ++host) {
        const IpAddress to = ip("10." + std::to_string(net) + ".0." + std::to_string(host));
        ASSERT_EQ(text_of(stepped.find(to)), text_of(whole.find(to))) << to_string(to) << " after step " << step;
        ASSERT_EQ(stepped.find(to), whole.find(to));
        ASSERT_EQ(stepped.find(to, 40), whole.find(to, 40));
        ASSERT_TRUE(is_as_looked_up(stepped.find(to), to)) << to_string(to) << " after step " << step;
      }
    }
    ASSERT_EQ(builder_.prefixes(), fresh.prefixes());
    ASSERT_EQ(builder_.next_hops(), fresh.next_hops()) << "no next hop leaks";
  }
}

}  // namespace
}  // namespace sluice
