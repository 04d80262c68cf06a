// A router's work on IP packets: routes, TTL, MTU, neighbours, link-layer headers, transmit queues.
#include <gtest/gtest.h>

#include "dataplane/wire/ip.h"
#include "tests/support/pipeline_bench.h"

namespace sluice::test {
namespace {

using Drops = std::map<std::string, uint64_t>;
using Action = NextHop::Action;
constexpr const char *kHost = "10.1.0.2", *kSomewhere = "203.0.113.5";

class Forward : public testing::Test {
 protected:
  Forward() { route(kSomewhere + std::string("/32")); }

  NextHop& route(const std::string& prefix) {
    NextHop& hop = bench.hop_to(prefix);
    hop = bench.hop_to("10.1.0.0/16");
    hop.port = kWan;
    return hop;
  }
  static Octets packet(size_t size = 64, Ipv4Fields fields = {}) {
    return PacketBuilder(size).udp(1000, 2000).ipv4(kHost, kSomewhere, fields);
  }
  static Octets packet6(size_t size = 64, Ipv6Fields fields = {}) {
    return PacketBuilder(size).udp(1000, 2000).ipv6("fd01::2", "2001:db8:9::1", fields);
  }
  void receive(const Octets& ip_packet) { bench.receive(PacketBuilder(ip_packet).ethernet(kLanMac, kHostMac), kLan); }
  // Dropped by this name, and the packet as it was given to control for the ICMP error.
  void expect_rejected(const char* reason, PuntReason punt, const Octets& bytes) {
    EXPECT_EQ(bench.drops(), (Drops{{reason, 1}}));
    const auto punted = bench.punted();
    ASSERT_EQ(punted.size(), 1u);
    EXPECT_EQ(punted[0].reason, punt);
    EXPECT_EQ(punted[0].l2_size, 0);
    EXPECT_EQ(punted[0].in_port, kLan);
    EXPECT_EQ(hex(punted[0].bytes), hex(bytes));
    EXPECT_TRUE(bench.transmitted(kWan).empty());
  }

  PipelineBench bench;
};

TEST_F(Forward, SendsOutOfThePortBehindTheLinkHeader) {
  receive(packet());
  const auto frames = bench.transmitted(kWan);
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(hex(frames[0]), hex(PacketBuilder(packet(64, {.ttl = 63})).ethernet(kHostMac, kLanMac).build()));
  EXPECT_EQ(bench.drops(), Drops{});
}

TEST_F(Forward, ChecksumHoldsForEveryTtl) {
  for (int ttl = 2; ttl <= 255; ++ttl) {
    receive(packet(8, {.ttl = static_cast<uint8_t>(ttl)}));
    const auto frames = bench.transmitted(kWan);
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_EQ(checksum_fold(checksum_add(std::span(frames[0]).subspan(14, 20))), 0) << ttl;
  }
}

TEST_F(Forward, PacketsWithoutHopsLeftAreRejected) {
  for (const int ttl : {0, 1}) {
    const Octets used_up = packet(64, {.ttl = static_cast<uint8_t>(ttl)});
    receive(used_up);
    expect_rejected("ttl_exceeded", PuntReason::kTtlExceeded, used_up);
    route("2001:db8:9::/48");
    const Octets used_up6 = packet6(64, {.hop_limit = static_cast<uint8_t>(ttl)});
    receive(used_up6);
    expect_rejected("ttl_exceeded", PuntReason::kTtlExceeded, used_up6);
  }
}

TEST_F(Forward, RoutesThatRefuse) {
  receive(PacketBuilder(8).ipv4(kHost, "192.0.2.1"));
  expect_rejected("no_route", PuntReason::kNoRoute, PacketBuilder(8).ipv4(kHost, "192.0.2.1"));
  route(kSomewhere + std::string("/32")).action = Action::kUnreachable;
  receive(packet());
  expect_rejected("no_route", PuntReason::kNoRoute, packet());
  route(kSomewhere + std::string("/32")).action = Action::kProhibit;
  receive(packet());
  expect_rejected("route_prohibited", PuntReason::kProhibited, packet());
  route(kSomewhere + std::string("/32")).action = Action::kBlackhole;
  receive(packet());
  EXPECT_EQ(bench.drops(), (Drops{{"route_blackhole", 1}}));
  EXPECT_TRUE(bench.punted().empty());
}

TEST_F(Forward, WhatLinuxForwardsIsHandedOverAsReceived) {
  route(kSomewhere + std::string("/32")).action = Action::kLinux;
  const Octets frame = PacketBuilder(packet()).ethernet(kLanMac, kHostMac);
  bench.receive(frame, kLan);
  const auto punted = bench.punted();
  ASSERT_EQ(punted.size(), 1u);
  EXPECT_EQ(punted[0].reason, PuntReason::kLinux);
  EXPECT_EQ(punted[0].l2_size, 14);
  EXPECT_EQ(hex(punted[0].bytes), hex(frame));
}

TEST_F(Forward, UnresolvedNextHopsAreControlsToResolve) {
  route(kSomewhere + std::string("/32")).action = Action::kUnresolved;
  receive(packet());
  EXPECT_EQ(bench.drops(), Drops{});
  const auto punted = bench.punted();
  ASSERT_EQ(punted.size(), 1u);
  EXPECT_EQ(punted[0].reason, PuntReason::kResolve);
  EXPECT_EQ(hex(punted[0].bytes), hex(packet(64, {.ttl = 63})));
  // When it is resolved, the packet comes back and has no further hop to pay for.
  route(kSomewhere + std::string("/32"));
  bench.enter(process_own, {punted[0].bytes});
  const auto frames = bench.transmitted(kWan);
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(hex(frames[0]), hex(PacketBuilder(packet(64, {.ttl = 63})).ethernet(kHostMac, kLanMac).build()));
}

TEST_F(Forward, TooManyPacketsForANeighbourAreDropped) {
  route(kSomewhere + std::string("/32")).action = Action::kUnresolved;
  for (int i = 0; i < 24; ++i) {
    bench.receive(std::vector<Octets>(64, PacketBuilder(packet()).ethernet(kLanMac, kHostMac)), kLan);
    bench.punted();
  }
  EXPECT_EQ(bench.drops(), (Drops{{"neighbour_unresolved", 24 * 64 - 1500}}));
}

TEST_F(Forward, TooBigForTheNextHop) {
  route("2001:db8:9::/48").mtu = 1280;
  receive(packet6(1280));
  EXPECT_EQ(bench.drops(), (Drops{{"too_big", 1}}));
  auto punted = bench.punted();
  ASSERT_EQ(punted.size(), 1u);
  EXPECT_EQ(punted[0].reason, PuntReason::kTooBig);
  EXPECT_EQ(punted[0].mtu, 1280);

  route(kSomewhere + std::string("/32")).mtu = 1000;
  receive(packet(1000, {.dont_fragment = true}));
  EXPECT_EQ(bench.drops(), (Drops{{"too_big", 1}}));
  punted = bench.punted();
  ASSERT_EQ(punted.size(), 1u);
  EXPECT_EQ(punted[0].mtu, 1000);
  receive(packet(972, {.dont_fragment = true}));  // exactly fits
  EXPECT_EQ(bench.transmitted(kWan).size(), 1u);
}

// What a receiver puts together from fragments, checking their headers on the way.
Octets reassembled(const std::vector<Octets>& fragments, size_t mtu) {
  Octets payload;
  for (size_t i = 0; i < fragments.size(); ++i) {
    const auto& ip = *reinterpret_cast<const Ipv4Header*>(fragments[i].data());
    EXPECT_EQ(ip.total_length.host(), fragments[i].size());
    EXPECT_LE(fragments[i].size(), mtu);
    EXPECT_EQ(checksum_fold(checksum_add(std::span(fragments[i]).first(ip.header_size()))), 0);
    EXPECT_EQ((ip.flags_fragment.host() & 0x1fff) * 8u, payload.size());
    EXPECT_EQ((ip.flags_fragment.host() & 0x2000) != 0, i + 1 != fragments.size());
    payload.insert(payload.end(), fragments[i].begin() + static_cast<ptrdiff_t>(ip.header_size()), fragments[i].end());
  }
  return payload;
}

TEST_F(Forward, SplitsIpv4ThatMayBeSplit) {  // D-20
  route(kSomewhere + std::string("/32")).mtu = 600;
  const Octets whole = packet(1400);
  receive(whole);
  EXPECT_EQ(bench.drops(), Drops{});
  std::vector<Octets> fragments;
  for (const Octets& frame : bench.transmitted(kWan)) fragments.emplace_back(frame.begin() + 14, frame.end());
  EXPECT_EQ(fragments.size(), 3u);
  EXPECT_EQ(reassembled(fragments, 600), Octets(whole.begin() + 20, whole.end()));
}

TEST_F(Forward, TunnelsMtuCounts) {  // D-20
  RemoteSession& session = bench.add_session(bench.peer());
  const auto to_tunnel = [&](size_t size, Ipv4Fields fields) {
    return PacketBuilder(size).udp(1, 2).ipv4(kHost, "10.2.0.2", fields).build();
  };
  const Octets refused = to_tunnel(1400, {.dont_fragment = true});
  receive(refused);
  EXPECT_EQ(bench.drops(), (Drops{{"too_big", 1}}));
  const auto punted = bench.punted();
  ASSERT_EQ(punted.size(), 1u);
  EXPECT_EQ(punted[0].mtu, 1420);

  const Octets whole = to_tunnel(1472, {});
  receive(whole);
  std::vector<Octets> fragments;
  for (const Octets& message : bench.messages_to_peer()) {
    auto inner = session.open(message);
    ASSERT_TRUE(inner);
    inner->resize(*inner_length(*inner));
    fragments.push_back(*inner);
  }
  EXPECT_EQ(fragments.size(), 2u);
  EXPECT_EQ(reassembled(fragments, 1420), Octets(whole.begin() + 20, whole.end()));
}

TEST_F(Forward, RunsOutOfBuffersByName) {
  route(kSomewhere + std::string("/32")).mtu = 600;
  std::vector<rte_mbuf*> hoard;
  receive(packet(8));  // the path itself works
  bench.transmitted(kWan);
  while (rte_mbuf* m = rte_pktmbuf_alloc(bench.pool())) hoard.push_back(m);
  rte_pktmbuf_free(hoard.back());
  hoard.pop_back();
  receive(packet(1400));
  EXPECT_EQ(bench.drops(), (Drops{{"no_buffer", 1}}));
  for (rte_mbuf* m : hoard) rte_pktmbuf_free(m);
}

TEST_F(Forward, MartianSourcesGoNowhere) {
  for (const char* source : {"127.0.0.1", "0.0.0.0", "239.1.1.1", "255.255.255.255", "10.1.0.1"}) {
    receive(PacketBuilder(8).ipv4(source, kSomewhere));
    EXPECT_EQ(bench.drops(), (Drops{{"martian_source", 1}})) << source;
  }
  route("2001:db8:9::/48");
  for (const char* source : {"::", "::1", "ff02::5", "fe80::1", "::ffff:10.1.0.2", "fd01::1"}) {
    receive(PacketBuilder(8).ipv6(source, "2001:db8:9::1"));
    EXPECT_EQ(bench.drops(), (Drops{{"martian_source", 1}})) << source;
  }
  EXPECT_TRUE(bench.punted().empty());
}

TEST_F(Forward, OwnPacketsPayNoHop) {
  bench.enter(process_own, {PacketBuilder(8).ipv4("10.1.0.1", kSomewhere, {.ttl = 1})});
  EXPECT_EQ(bench.drops(), Drops{});
  EXPECT_EQ(bench.transmitted(kWan).size(), 1u);
}

TEST_F(Forward, TransmitRetriesABoundedNumberOfTimes) {
  bench.port(kWan).at_once = 20;  // per call
  bench.receive(std::vector<Octets>(64, PacketBuilder(packet()).ethernet(kLanMac, kHostMac)), kLan);
  EXPECT_EQ(bench.transmitted(kWan).size(), 64u);
  bench.port(kWan).room = 10;
  bench.receive(std::vector<Octets>(64, PacketBuilder(packet()).ethernet(kLanMac, kHostMac)), kLan);
  EXPECT_EQ(bench.transmitted(kWan).size(), 10u);
  EXPECT_EQ(bench.drops(), (Drops{{"transmit_full", 54}}));
}

TEST_F(Forward, NextHopOnAPortThatIsGone) {
  route(kSomewhere + std::string("/32")).port = PortId(9);
  receive(packet());
  EXPECT_EQ(bench.drops(), (Drops{{"port_gone", 1}}));
}

TEST_F(Forward, IcmpErrorsHaveABudget) {
  size_t handed_over = 0;
  for (int i = 0; i < 10; ++i) {
    bench.receive(std::vector<Octets>(64, PacketBuilder(packet(8, {.ttl = 1})).ethernet(kLanMac, kHostMac)), kLan);
    handed_over += bench.punted().size();
  }
  EXPECT_EQ(handed_over, 256u);
  EXPECT_EQ(bench.drops(), (Drops{{"ttl_exceeded", 640}}));  // and under no second name
}

TEST_F(Forward, KeepsTheOrderOfABurst) {
  std::vector<Octets> frames;
  for (size_t i = 0; i < 64; ++i) frames.push_back(PacketBuilder(packet(i)).ethernet(kLanMac, kHostMac));
  bench.receive(frames, kLan);
  const auto out = bench.transmitted(kWan);
  ASSERT_EQ(out.size(), 64u);
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(out[i].size(), 42 + i);
}

}  // namespace
}  // namespace sluice::test
