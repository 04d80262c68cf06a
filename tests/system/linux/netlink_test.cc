#include "control/linux/netlink.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "control/linux/fib_builder.h"
#include "tests/system/linux/netns.h"
#include "tests/unit/linux/sketch.h"

namespace sluice {
namespace {

using namespace test;

// Two interfaces, a and b, made by the ip command; what it sets is what the model must say.
class NetlinkTest : public NetnsTest {
 protected:
  void SetUp() override {
    NetnsTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    for (const char* name : {"a", "b"}) {
      ASSERT_EQ(ip(std::string("tuntap add dev ") + name + " mode tap"), "");
      ASSERT_EQ(ip(std::string("link set dev ") + name + " up"), "");
    }
    ASSERT_TRUE(eventually([&] { return model_.link("b") != nullptr && model_.link("b")->up; }));
  }
  LinkName name(std::string_view text) { return {model_.link(text)->index, std::string(text)}; }
  static void expect_starts(const std::string& text, const std::string& start) {
    EXPECT_EQ(text.substr(0, start.size()), start);
  }
  // The same command line for `count` prefixes of 172.16/12.
  static std::string add_routes(int count) {
    const std::string batch = testing::TempDir() + "sluice-linux-routes." + std::to_string(::getpid());
    {
      std::ofstream file(batch);
      for (int i = 0; i < count; ++i) {
        file << "route add 172." << 16 + i / 250 << "." << i % 250 << ".0/24 via 10.1.0.9\n";
      }
    }
    const std::string said = ip("-batch " + batch);
    ::unlink(batch.c_str());
    return said;
  }
  const Route* best(std::string_view prefix) { return model_.best(net(prefix)); }
};

TEST_F(NetlinkTest, DumpsWhatIsAlreadyThere) {
  ip("addr add 10.1.0.1/16 dev a");
  ip("route add 10.2.0.0/16 via 10.1.0.9");
  ip("neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev a nud permanent");
  auto another = Netlink::open();
  ASSERT_TRUE(another) << another.error().what;
  netlink_ = std::move(*another);
  model_ = NetworkModel();
  ASSERT_TRUE(settled());
  const Link* a = model_.link("a");
  ASSERT_NE(a, nullptr);
  EXPECT_TRUE(a->up);
  EXPECT_EQ(a->mtu, 1500u);
  EXPECT_TRUE(model_.is_own(test::ip("10.1.0.1")));
  ASSERT_NE(best("10.2.0.0/16"), nullptr);
  EXPECT_EQ(best("10.2.0.0/16")->hops, (std::vector<RouteHop>{{a->index, test::ip("10.1.0.9")}}));
  ASSERT_NE(best("10.1.255.255/32"), nullptr);
  EXPECT_EQ(best("10.1.255.255/32")->type, Route::Type::kBroadcast);
  const Neighbour* neighbour = model_.neighbour({test::ip("10.1.0.9"), a->index});
  ASSERT_NE(neighbour, nullptr);
  EXPECT_EQ(neighbour->state, Neighbour::State::kPermanent);
  EXPECT_EQ(neighbour->mac, mac("02:00:00:00:00:09"));
  EXPECT_EQ(netlink_->resyncs(), 0u);
}

TEST_F(NetlinkTest, FollowsLinksAndAddresses) {
  ip("link set dev a mtu 1400 address 02:00:00:00:00:aa");
  EXPECT_TRUE(
      eventually([&] { return model_.link("a")->mtu == 1400 && model_.link("a")->mac == mac("02:00:00:00:00:aa"); }));
  ip("link set dev b down");
  EXPECT_TRUE(eventually([&] { return !model_.link("b")->up; }));
  ip("addr add 10.1.0.1/16 dev a");
  ip("addr add 2001:db8::1/64 dev a nodad");
  EXPECT_TRUE(
      eventually([&] { return model_.is_own(test::ip("10.1.0.1")) && model_.is_own(test::ip("2001:db8::1")); }));
  ip("addr del 10.1.0.1/16 dev a");
  EXPECT_TRUE(eventually([&] { return !model_.is_own(test::ip("10.1.0.1")); }));
  ip("link del dev b");
  EXPECT_TRUE(eventually([&] { return model_.link("b") == nullptr; }));
}

TEST_F(NetlinkTest, KnowsEveryKindOfRoute) {
  ip("addr add 10.1.0.1/16 dev a");
  ip("addr add 2001:db8::1/64 dev b nodad");
  ip("route add blackhole 203.0.113.0/24");
  ip("route add unreachable 203.0.114.0/24");
  ip("route add prohibit 2001:db8:5::/48");
  ip("route add default via 10.1.0.9 src 10.1.0.1 mtu 1300 metric 50");
  ip("route add 100.64.0.0/10 via inet6 2001:db8::9");
  ip("route add 10.9.0.0/16 nexthop via 10.1.0.7 nexthop via 10.1.0.8");
  ip("-6 route add 2001:db8:9::/48 nexthop via 2001:db8::7 nexthop via 2001:db8::8");
  ip("route add 10.77.0.0/16 via 10.1.0.9 table 77");
  ip("route add 198.51.100.0/24 via 10.1.0.9");
  ASSERT_TRUE(eventually([&] { return best("198.51.100.0/24") != nullptr; }));
  const int a = model_.link("a")->index, b = model_.link("b")->index;
  EXPECT_EQ(best("203.0.113.0/24")->type, Route::Type::kBlackhole);
  EXPECT_EQ(best("203.0.114.0/24")->type, Route::Type::kUnreachable);
  EXPECT_EQ(best("2001:db8:5::/48")->type, Route::Type::kProhibit);
  EXPECT_EQ(*best("0.0.0.0/0"), (Route{.prefix = net("0.0.0.0/0"),
                                       .metric = 50,
                                       .mtu = 1300,
                                       .preferred_source = test::ip("10.1.0.1"),
                                       .hops = {{a, test::ip("10.1.0.9")}}}));
  EXPECT_EQ(best("100.64.0.0/10")->hops, (std::vector<RouteHop>{{b, test::ip("2001:db8::9")}}));
  EXPECT_EQ(best("10.9.0.0/16")->hops, (std::vector<RouteHop>{{a, test::ip("10.1.0.7")}, {a, test::ip("10.1.0.8")}}));
  EXPECT_EQ(best("2001:db8:9::/48")->hops,
            (std::vector<RouteHop>{{b, test::ip("2001:db8::7")}, {b, test::ip("2001:db8::8")}}));
  EXPECT_EQ(best("10.77.0.0/16"), nullptr) << "another table";
}

TEST_F(NetlinkTest, ReplacedAppendedAndPartlyDeletedRoutesEndAsLinuxHasThem) {
  ip("addr add 10.1.0.1/16 dev a");
  ip("addr add 2001:db8::1/64 dev a nodad");
  ip("route add 10.9.0.0/16 via 10.1.0.2");
  ip("route append 10.9.0.0/16 via 10.1.0.3");
  const auto gateway = [&](std::string_view prefix) {
    return best(prefix) == nullptr ? std::string() : to_string(best(prefix)->hops.at(0).gateway);
  };
  EXPECT_TRUE(eventually([&] { return gateway("10.9.0.0/16") == "10.1.0.2"; }));
  ip("route del 10.9.0.0/16 via 10.1.0.2");
  EXPECT_TRUE(eventually([&] { return gateway("10.9.0.0/16") == "10.1.0.3"; }));
  ip("route replace 10.9.0.0/16 via 10.1.0.4");
  EXPECT_TRUE(eventually([&] { return gateway("10.9.0.0/16") == "10.1.0.4"; }));

  ip("-6 route add 2001:db8:9::/48 via 2001:db8::2");
  ip("-6 route append 2001:db8:9::/48 via 2001:db8::3");
  EXPECT_TRUE(eventually([&] { return best("2001:db8:9::/48") && best("2001:db8:9::/48")->hops.size() == 2; }));
  ip("-6 route del 2001:db8:9::/48 via 2001:db8::2");
  EXPECT_TRUE(eventually(
      [&] { return best("2001:db8:9::/48")->hops.size() == 1 && gateway("2001:db8:9::/48") == "2001:db8::3"; }));
}

TEST_F(NetlinkTest, RoutesThatLinuxRemovesInSilenceVanish) {
  ip("addr add 10.1.0.1/16 dev a");
  ip("addr add 10.3.0.1/16 dev b");
  ip("route add 10.2.0.0/16 via 10.1.0.9");
  ip("route add 10.4.0.0/16 via 10.3.0.9");
  ASSERT_TRUE(eventually([&] { return best("10.4.0.0/16") != nullptr; }));
  ip("link set dev a down");
  EXPECT_TRUE(eventually([&] { return !model_.routes().contains(net("10.2.0.0/16")); }));
  ip("link del dev b");
  EXPECT_TRUE(eventually([&] { return !model_.routes().contains(net("10.4.0.0/16")); }));
  EXPECT_GE(netlink_->resyncs(), 2u);
}

TEST_F(NetlinkTest, AnOverrunIsMadeGoodByADump) {
  ip("addr add 10.1.0.1/16 dev a");
  ASSERT_TRUE(eventually([&] { return model_.is_own(test::ip("10.1.0.1")); }));
  const int small = 4096;
  ASSERT_EQ(::setsockopt(netlink_->fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
  EXPECT_EQ(add_routes(2000), "");
  EXPECT_TRUE(eventually([&] { return netlink_->resyncs() > 0; }));
  size_t routes = 0;
  for (const auto& [prefix, all] : model_.routes()) routes += prefix.length == 24 && prefix.address.bytes[0] == 172;
  EXPECT_EQ(routes, 2000u);
  ip("route del 172.16.0.0/24");
  EXPECT_TRUE(eventually([&] { return best("172.16.0.0/24") == nullptr; })) << "notifications go on";
}

TEST_F(NetlinkTest, AThousandRoutesAreFewTables) {
  ip("addr add 10.1.0.1/16 dev a");
  EXPECT_EQ(add_routes(1000), "");
  FibBuilder builder;
  const OwnInterfaces own{.ports = {{model_.link("a")->index, PortId(0)}}, .tunnels = {}};
  int tables = 0;
  while (builder.prefixes() < 1000) {
    ASSERT_TRUE(readable(netlink_->fd(), std::chrono::seconds(5)));
    ASSERT_TRUE(netlink_->receive(model_));
    if (netlink_->is_settled()) tables += builder.update(model_, own, model_.take_changes());
  }
  EXPECT_LE(tables, 20);
  EXPECT_EQ(builder.fib().find(test::ip("172.19.249.1")).action, NextHop::Action::kUnresolved);
  EXPECT_LE(builder.next_hops(), 10u);
}

TEST_F(NetlinkTest, NeighboursAppearChangeAndVanish) {
  ip("addr add 10.1.0.1/16 dev a");
  const NeighbourKey key{test::ip("10.1.0.5"), model_.link("a")->index};
  const auto state = [&] {
    const Neighbour* n = model_.neighbour(key);
    return n == nullptr ? std::optional<Neighbour::State>() : n->state;
  };
  ip("neigh add 10.1.0.5 lladdr 02:00:00:00:00:05 dev a nud stale");
  EXPECT_TRUE(eventually([&] { return state() == Neighbour::State::kStale; }));
  ip("neigh change 10.1.0.5 lladdr 02:00:00:00:00:06 dev a nud reachable");
  EXPECT_TRUE(eventually([&] {
    return state() == Neighbour::State::kReachable && model_.neighbour(key)->mac == mac("02:00:00:00:00:06");
  }));
  ip("neigh del 10.1.0.5 dev a");
  EXPECT_TRUE(eventually([&] { return !model_.neighbour(key) || !model_.neighbour(key)->is_resolved(); }));
}

TEST_F(NetlinkTest, SettersDoWhatTheIpCommandSees) {
  ASSERT_TRUE(netlink_->add_address(name("a"), *parse_interface_address("10.1.0.1/16")));
  ASSERT_TRUE(netlink_->add_address(name("a"), *parse_interface_address("10.1.0.1/16"))) << "already there";
  ASSERT_TRUE(netlink_->add_address(name("a"), *parse_interface_address("2001:db8::1/64")));
  EXPECT_NE(ip("addr show dev a").find("inet 10.1.0.1/16 brd 10.1.255.255"), std::string::npos)
      << ip("addr show dev a");
  EXPECT_NE(ip("addr show dev a").find("inet6 2001:db8::1/64"), std::string::npos);

  const RouteRequest by_gateway{.to = net("0.0.0.0/0"), .via = test::ip("10.1.0.9")};
  ASSERT_TRUE(netlink_->replace_route(by_gateway));
  ASSERT_TRUE(netlink_->replace_route({.to = net("0.0.0.0/0"), .via = test::ip("10.1.0.8")}));
  expect_starts(ip("route show default"), "default via 10.1.0.8 dev a proto static ");
  ASSERT_TRUE(netlink_->replace_route({.to = net("10.7.0.0/16"), .link = name("b")}));
  expect_starts(ip("route show 10.7.0.0/16"), "10.7.0.0/16 dev b proto static scope link ");
  ASSERT_TRUE(netlink_->replace_route({.to = net("100.64.0.0/10"), .via = test::ip("2001:db8::9"), .link = name("a")}));
  expect_starts(ip("route show 100.64.0.0/10"), "100.64.0.0/10 via inet6 2001:db8::9 dev a proto static ");
  ASSERT_TRUE(netlink_->replace_route({.to = net("2001:db8:7::/48"), .link = name("b")}));
  expect_starts(ip("-6 route show 2001:db8:7::/48"), "2001:db8:7::/48 dev b proto static ");

  ASSERT_TRUE(netlink_->delete_route({.to = net("10.7.0.0/16"), .link = name("b")}));
  ASSERT_TRUE(netlink_->delete_route({.to = net("10.7.0.0/16"), .link = name("b")})) << "not there";
  EXPECT_EQ(ip("route show 10.7.0.0/16"), "");
  ASSERT_TRUE(netlink_->delete_address(name("a"), *parse_interface_address("10.1.0.1/16")));
  ASSERT_TRUE(netlink_->delete_address(name("a"), *parse_interface_address("10.1.0.1/16"))) << "not there";
  EXPECT_EQ(ip("-4 addr show dev a"), "");

  ASSERT_TRUE(netlink_->set_link(name("a"), {.up = false}));
  ASSERT_TRUE(netlink_->set_link(name("a"), {.mac = mac("02:00:00:00:00:11"), .mtu = 1300, .name = "c"}));
  EXPECT_TRUE(eventually([&] {
    const Link* c = model_.link("c");
    return c != nullptr && !c->up && c->mtu == 1300 && c->mac == mac("02:00:00:00:00:11");
  }));
}

TEST_F(NetlinkTest, ErrorsSayWhatAndWhy) {
  const auto what = [](const Result<void>& result) { return result ? std::string("no error") : result.error().what; };
  EXPECT_EQ(what(netlink_->add_address({4711, "wan"}, *parse_interface_address("10.1.0.1/16")))
                .rfind("address 10.1.0.1/16 on wan: No such device", 0),
            0u)
      << what(netlink_->add_address({4711, "wan"}, *parse_interface_address("10.1.0.1/16")));
  const auto route = netlink_->replace_route({.to = net("0.0.0.0/0"), .via = test::ip("192.0.2.1")});
  EXPECT_EQ(what(route), "route 0.0.0.0/0 via 192.0.2.1: Network is unreachable (Nexthop has invalid gateway)");
  const auto mtu = netlink_->set_link(name("a"), {.mtu = 90000});
  EXPECT_EQ(what(mtu), "interface a, MTU 90000: Invalid argument (mtu greater than device maximum)");
}

TEST_F(NetlinkTest, FollowsRulesAndTheirTables) {
  for (const std::string family : {"-4 ", "-6 "}) {
    const IpAddress far = test::ip(family == "-4 " ? "8.8.8.8" : "2001:4860::8");
    ip(family + "route add default dev a");
    ip(family + "route add default dev b table 51820");
    const auto interface = [&](uint32_t mark) {
      const Route* route = model_.lookup({.destination = far, .mark = mark});
      return route == nullptr ? "none" : model_.link(route->hops.at(0).interface)->name;
    };
    EXPECT_TRUE(eventually([&] { return interface(0) == "a"; })) << family;
    EXPECT_FALSE(model_.has_policy());
    ip(family + "rule add not fwmark 51820 table 51820");
    ip(family + "rule add table main suppress_prefixlength 0");
    EXPECT_TRUE(eventually([&] { return interface(0) == "b"; })) << family;
    EXPECT_EQ(interface(51820), "a");
    ip(family + "rule del table main suppress_prefixlength 0");
    ip(family + "rule del not fwmark 51820 table 51820");
    EXPECT_TRUE(eventually([&] { return interface(0) == "a"; })) << family;
    EXPECT_FALSE(model_.has_policy());
    ip(family + "rule add iif a table 51820");
    EXPECT_TRUE(eventually([&] {
      const auto& rules = model_.rules(far.family);
      return std::any_of(rules.begin(), rules.end(), [](const Rule& rule) { return rule.foreign; });
    }));
    EXPECT_EQ(interface(0), "a");
  }
}

TEST_F(NetlinkTest, FollowsNextHopObjects) {
  ip("link add c type veth peer name d");  // a TAP that nobody reads has no carrier, which these ask for
  ip("link set dev c up");
  ip("link set dev d up");
  ip("addr add 10.1.0.1/16 dev c");
  ip("addr add 10.2.0.1/16 dev d");
  ASSERT_TRUE(
      eventually([&] { return ip("nexthop replace id 1 via 10.1.0.9 dev c").empty(); }));  // the carrier takes time
  ASSERT_TRUE(eventually([&] { return model_.link("c") != nullptr && model_.link("d") != nullptr; }));
  ASSERT_TRUE(eventually([&] { return ip("nexthop replace id 2 via 10.2.0.9 dev d").empty(); }));
  ip("nexthop add id 3 group 1,2/2,5");
  ip("route add 10.9.0.0/16 nhid 3");
  const int c = name("c").index, d = name("d").index;
  const auto hops = [&] {
    const Route* route = best("10.9.0.0/16");
    return route == nullptr ? std::vector<RouteHop>{} : route->hops;
  };
  using Hops = std::vector<RouteHop>;
  EXPECT_TRUE(eventually([&] { return hops() == Hops{{c, test::ip("10.1.0.9"), 2}, {d, test::ip("10.2.0.9"), 5}}; }));
  ip("nexthop replace id 3 group 2");
  EXPECT_TRUE(eventually([&] { return hops() == Hops{{d, test::ip("10.2.0.9"), 1}}; }));
  ip("nexthop del id 3");
  EXPECT_TRUE(eventually([&] { return hops().empty(); }));
}

}  // namespace
}  // namespace sluice
