#include "control/linux/outer_routes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "dataplane/wire/ip.h"
#include "tests/unit/linux/sketch.h"

namespace sluice {
namespace {

using namespace test;
using State = OuterRoute::State;

class OuterRoutesTest : public testing::Test {
 protected:
  OuterRoutesTest() {
    put_links(model_);
    put_address(model_, kWan, "198.51.100.10/24");
    put_address(model_, kWan, "203.0.113.10/29");
    put_address(model_, kWan, "2001:db8:1::10/64");
    put_address(model_, kWan, "fe80::2/64");
    put_address(model_, kLan, "10.1.0.1/16");
    put_address(model_, kWg0, "10.255.0.1/24");
    put_address(model_, kMgmt, "192.0.2.9/24");
    model_.put_route(of_type("198.51.100.10/32", Route::Type::kLocal, Route::Table::kLocal));
    model_.put_route(via("198.51.100.0/24", kWan));
    model_.put_route(via("203.0.113.8/29", kWan));
    model_.put_route(via("2001:db8:1::/64", kWan));
    model_.put_route(via("192.0.2.0/24", kMgmt));
    model_.put_route(via("0.0.0.0/0", kWan, "198.51.100.1"));
    model_.put_route(via("::/0", kWan, "fe80::1"));
    put_neighbour(model_, kWan, "198.51.100.1", kRouterMac);
    put_neighbour(model_, kWan, "fe80::1", kRouterMac);
  }
  OuterResolution resolve(std::string_view endpoint, std::string_view cached = {}) {
    return resolve_outer(model_, own_,
                         {.remote = parse_endpoint(endpoint).value(),
                          .cached_local = cached.empty() ? IpAddress{} : ip(cached),
                          .listen_port = 51820});
  }
  NetworkModel model_;
  OwnInterfaces own_ = own_interfaces();
};

TEST_F(OuterRoutesTest, AReadyIpv4RouteHasItsWholeHeader) {
  const OuterResolution result = resolve("192.0.3.7:4500");
  const OuterRoute& route = result.route;
  ASSERT_EQ(route.state, State::kReady);
  EXPECT_EQ(route.port, PortId(0));
  EXPECT_EQ(route.mtu, 1500);
  EXPECT_EQ(route.local, ip("198.51.100.10"));
  EXPECT_EQ(result.neighbour, (NeighbourKey{ip("198.51.100.1"), kWan}));
  ASSERT_EQ(route.header_size, 14 + 20 + 8);
  ASSERT_EQ(route.l3_offset, 14);
  struct {
    EthernetHeader ethernet;
    Ipv4Header ip;
    UdpHeader udp;
  } h;
  static_assert(sizeof h == 42);
  std::memcpy(&h, route.header.data(), sizeof h);
  EXPECT_EQ(h.ethernet.destination, kRouterMac.bytes);
  EXPECT_EQ(h.ethernet.source, kWanMac.bytes);
  EXPECT_EQ(h.ethernet.ether_type.host(), kEtherTypeIpv4);
  EXPECT_EQ(h.ip.version_ihl, 0x45);
  EXPECT_EQ(h.ip.ttl, 64);
  EXPECT_EQ(h.ip.protocol, 17);
  EXPECT_FALSE(h.ip.dont_fragment());
  EXPECT_EQ(h.ip.source, (std::array<uint8_t, 4>{198, 51, 100, 10}));
  EXPECT_EQ(h.ip.destination, (std::array<uint8_t, 4>{192, 0, 3, 7}));
  EXPECT_EQ(h.udp.source_port.host(), 51820);
  EXPECT_EQ(h.udp.destination_port.host(), 4500);
  EXPECT_EQ(h.ip.total_length.host() + h.ip.tos + h.ip.checksum.host() + h.udp.length.host() + h.udp.checksum.host(),
            0);
}

TEST_F(OuterRoutesTest, AVlansRouteIsTagged) {
  own_.vlans[PortId(0)] = 120;
  for (const char* endpoint : {"192.0.3.7:4500", "[2001:db8:77::7]:4500"}) {
    const OuterRoute route = resolve(endpoint).route;
    ASSERT_EQ(route.state, State::kReady);
    ASSERT_EQ(route.l3_offset, 18);
    ASSERT_EQ(route.header_size, 18 + (route.remote.address.is_ipv4() ? 20 : 40) + 8);
    const std::array<uint8_t, 6> tag_and_type = {0x81,
                                                 0,
                                                 0,
                                                 120,
                                                 uint8_t(route.remote.address.is_ipv4() ? 8 : 0x86),
                                                 uint8_t(route.remote.address.is_ipv4() ? 0 : 0xdd)};
    EXPECT_EQ(std::memcmp(route.header.data(), kRouterMac.bytes.data(), 6), 0);
    EXPECT_EQ(std::memcmp(route.header.data() + 6, kWanMac.bytes.data(), 6), 0);
    EXPECT_EQ(std::memcmp(route.header.data() + 12, tag_and_type.data(), 6), 0);
    EXPECT_EQ(version_of(std::span(route.header).subspan(18)), route.remote.address.family);
  }
}

// What a worker does with the sums must give the checksums that the whole packet has.
TEST_F(OuterRoutesTest, SumsFinishToTheRightChecksums) {
  std::vector<std::byte> payload(33, std::byte{0xa7});
  for (const char* endpoint : {"192.0.3.7:4500", "[2001:db8:77::7]:4500"}) {
    const OuterRoute route = resolve(endpoint).route;
    ASSERT_EQ(route.state, State::kReady);
    const auto udp_length = static_cast<uint16_t>(sizeof(UdpHeader) + payload.size());
    std::vector<std::byte> l4(udp_length);
    const be16 length(udp_length);
    std::memcpy(l4.data(), route.header.data() + route.header_size - sizeof(UdpHeader), sizeof(UdpHeader));
    std::memcpy(l4.data() + 4, &length, 2);
    std::copy(payload.begin(), payload.end(), l4.begin() + sizeof(UdpHeader));
    // The length stands in the pseudo header and in the UDP header.
    const be16 lengths[2] = {length, length};
    const uint32_t sum = checksum_add(payload, checksum_add(std::as_bytes(std::span(lengths)), route.udp_sum));
    EXPECT_EQ(checksum_fold(sum), transport_checksum(route.local, route.remote.address, kProtocolUdp, l4)) << endpoint;
    if (route.local.is_ipv6()) {
      EXPECT_EQ(route.ipv4_sum, 0u);
      continue;
    }
    Ipv4Header ip;
    std::memcpy(&ip, route.header.data() + route.l3_offset, sizeof ip);
    ip.total_length = 1234;
    ip.tos = 0xb9;
    const std::byte version_tos[2] = {std::byte{0}, std::byte{0xb9}};
    const be16 total(1234);
    const uint32_t ip_sum =
        checksum_add(version_tos, checksum_add(std::as_bytes(std::span(&total, 1)), route.ipv4_sum));
    EXPECT_EQ(checksum_fold(ip_sum), ipv4_header_checksum(ip));
  }
}

TEST_F(OuterRoutesTest, AReadyIpv6Route) {
  const OuterResolution result = resolve("[2001:db8:77::7]:4500");
  const OuterRoute& route = result.route;
  ASSERT_EQ(route.state, State::kReady);
  EXPECT_EQ(route.local, ip("2001:db8:1::10")) << "not the link-local address, although the gateway has one";
  EXPECT_EQ(result.neighbour, (NeighbourKey{ip("fe80::1"), kWan}));
  ASSERT_EQ(route.header_size, 14 + 40 + 8);
  Ipv6Header header;
  std::memcpy(&header, route.header.data() + route.l3_offset, sizeof header);
  EXPECT_EQ(header.version_class_flow.host(), 0x60000000u);
  EXPECT_EQ(header.next_header, 17);
  EXPECT_EQ(header.hop_limit, 64);
  EXPECT_EQ(header.source, ip("2001:db8:1::10").bytes);
  EXPECT_EQ(header.destination, ip("2001:db8:77::7").bytes);
}

TEST_F(OuterRoutesTest, ALinkLocalEndpointGoesByItsScope) {
  put_neighbour(model_, kWan, "fe80::9", kHostMac);
  Endpoint endpoint{.address = ip("fe80::9"), .port = 51820, .scope = kWan};
  const auto resolved = resolve_outer(model_, own_, {.remote = endpoint, .cached_local = {}, .listen_port = 1});
  EXPECT_EQ(resolved.route.state, State::kReady);
  EXPECT_EQ(resolved.route.local, ip("fe80::2"));
  endpoint.scope = 0;
  EXPECT_EQ(resolve_outer(model_, own_, {.remote = endpoint, .cached_local = {}, .listen_port = 1}).route.state,
            State::kNoRoute);
}

TEST_F(OuterRoutesTest, AnUnknownNeighbourIsNamedAndWaitedFor) {
  const OuterResolution on_link = resolve("198.51.100.77:51820");
  EXPECT_EQ(on_link.route.state, State::kUnresolved);
  EXPECT_EQ(on_link.neighbour, (NeighbourKey{ip("198.51.100.77"), kWan}));
  put_neighbour(model_, kWan, "198.51.100.1", {}, Neighbour::State::kFailed);
  EXPECT_EQ(resolve("192.0.3.7:4500").route.state, State::kUnresolved);
}

TEST_F(OuterRoutesTest, RoutesThroughOurTunnelsDoNotExist) {
  model_.put_route(via("0.0.0.0/1", kWg0));
  model_.put_route(via("128.0.0.0/1", kWg0));
  model_.put_route(via("192.0.3.0/24", kWg0));
  const OuterResolution result = resolve("192.0.3.7:4500");
  EXPECT_EQ(result.route.state, State::kReady);
  EXPECT_EQ(result.neighbour, (NeighbourKey{ip("198.51.100.1"), kWan}));
  model_.erase_route(via("0.0.0.0/0", kWan, "198.51.100.1"));
  EXPECT_EQ(resolve("192.0.3.7:4500").route.state, State::kNoRoute) << "nothing but the tunnel left";
}

TEST_F(OuterRoutesTest, TheTunnelsMarkFindsTheTable) {
  Route marked = via("0.0.0.0/0", kLan, "10.1.0.2");
  marked.table = static_cast<Route::Table>(7);
  model_.put_route(marked);
  model_.put_rule({.family = Family::kIpv4, .priority = 1, .table = marked.table, .mark = 5, .mark_mask = UINT32_MAX});
  model_.put_rule({.family = Family::kIpv4, .priority = 2});
  EXPECT_EQ(resolve("203.0.113.77:4500").neighbour, (NeighbourKey{ip("198.51.100.1"), kWan}));
  const OuterResolution result =
      resolve_outer(model_, own_, {.remote = parse_endpoint("203.0.113.77:4500").value(), .mark = 5});
  EXPECT_EQ(result.neighbour, (NeighbourKey{ip("10.1.0.2"), kLan}));
  EXPECT_EQ(result.route.local, ip("10.1.0.1"));
}

TEST_F(OuterRoutesTest, EndpointsShareEqualWaysThatAnswer) {
  Route route = via("0.0.0.0/0", kWan, "198.51.100.1");
  route.hops.push_back({kLan, ip("10.1.0.2"), 1});
  model_.put_route(route, NetworkModel::Insert::kReplace);
  const auto used = [&] {
    std::map<int, int> interfaces;
    for (int i = 0; i < 200; ++i) ++interfaces[resolve("192.0.3." + std::to_string(i) + ":51820").neighbour->interface];
    return interfaces;
  };
  EXPECT_EQ(used(), (std::map<int, int>{{kWan, 200}})) << "the other is not known to answer";
  put_neighbour(model_, kLan, "10.1.0.2", kHostMac);
  EXPECT_EQ(used(), used()) << "each endpoint stays with its way";
  EXPECT_GT(used()[kLan], 60);
  EXPECT_GT(used()[kWan], 60);
}

TEST_F(OuterRoutesTest, WhatPortsDoNotReachHasNoRoute) {
  const auto none = [&](std::string_view endpoint) {
    const OuterResolution result = resolve(endpoint);
    return result.route.state == State::kNoRoute && !result.neighbour && result.route.header_size == 0;
  };
  EXPECT_TRUE(none("192.0.2.77:1")) << "behind the management interface";
  EXPECT_TRUE(none("198.51.100.10:1")) << "ourselves";
  model_.put_route(of_type("203.0.114.0/24", Route::Type::kBlackhole));
  EXPECT_TRUE(none("203.0.114.1:1"));
  EXPECT_FALSE(none("192.0.3.7:4500"));
  model_.put_link({kWan, "wan", false, 1500, kWanMac});
  EXPECT_TRUE(none("192.0.3.7:4500")) << "link down";
}

TEST_F(OuterRoutesTest, TheSourceIsTheCachedOneWhileItIsOurs) {
  EXPECT_EQ(resolve("192.0.3.7:4500", "203.0.113.10").route.local, ip("203.0.113.10"));
  EXPECT_EQ(resolve("192.0.3.7:4500", "10.1.0.1").route.local, ip("10.1.0.1"));
  EXPECT_EQ(resolve("192.0.3.7:4500", "203.0.113.99").route.local, ip("198.51.100.10")) << "not ours any more";
  EXPECT_EQ(resolve("192.0.3.7:4500", "2001:db8:1::10").route.local, ip("198.51.100.10")) << "another family";
}

TEST_F(OuterRoutesTest, TheSourceIsTheRoutesPreferredOneThenTheNextHopsSubnet) {
  EXPECT_EQ(resolve("203.0.113.9:1").route.local, ip("203.0.113.10"));
  Route route = via("192.0.3.0/24", kWan, "198.51.100.1");
  route.preferred_source = ip("10.1.0.1");
  model_.put_route(route);
  EXPECT_EQ(resolve("192.0.3.7:4500").route.local, ip("10.1.0.1"));
}

TEST_F(OuterRoutesTest, UnusableAddressesAreNoSource) {
  model_.put_address({.interface = kWan, .address = {ip("2001:db8:1::10"), 64}, .usable = false});
  EXPECT_EQ(resolve("[2001:db8:77::7]:1").route.state, State::kNoRoute) << "tentative: none left";
  put_address(model_, kLan, "2001:db8:5::1/64");
  EXPECT_EQ(resolve("[2001:db8:77::7]:1").route.local, ip("2001:db8:5::1"))
      << "another interface's, as on an unnumbered link";
}

TEST_F(OuterRoutesTest, TheMtuIsTheSmallerOfRouteAndLink) {
  Route route = via("192.0.3.0/24", kWan, "198.51.100.1");
  route.mtu = 1400;
  model_.put_route(route);
  EXPECT_EQ(resolve("192.0.3.7:4500").route.mtu, 1400);
  route.mtu = 9000;
  model_.put_route(route, NetworkModel::Insert::kReplace);
  EXPECT_EQ(resolve("192.0.3.7:4500").route.mtu, 1500);
}

}  // namespace
}  // namespace sluice
