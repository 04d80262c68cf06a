// What the path to a peer takes, where that is less than the tunnel does; and what a tunnel says about its traffic in
// the outer header.
#include <gtest/gtest.h>

#include "dataplane/wire/ip.h"
#include "dataplane/wire/messages.h"
#include "tests/support/pipeline_bench.h"

namespace sluice::test {
namespace {

using Drops = std::map<std::string, uint64_t>;
constexpr const char *kHost = "10.1.0.2", *kInX = "10.2.0.2", *kHost6 = "fd01::2", *kInX6 = "fd02::2";

class NarrowPath : public testing::Test {
 protected:
  // Of 1280 bytes: messages hold 1220 over IPv4, 1200 over IPv6.
  void SetUp() override { narrow("198.51.100.2", 1220); }
  void narrow(const char* endpoint, uint16_t inner) {
    bench.set_endpoint(bench.peer(), endpoint);
    bench.outer_of(bench.peer()).mtu = 1280;
    bench.outer_of(bench.peer()).inner_mtu = inner;
  }
  static Octets v4(size_t size, Ipv4Fields fields = {}) {
    return PacketBuilder(size - 28).udp(1, 2).ipv4(kHost, kInX, fields);
  }
  static Octets v6(size_t size) { return PacketBuilder(size - 48).udp(1, 2).ipv6(kHost6, kInX6); }
  void send(const Octets& packet) { bench.receive(PacketBuilder(packet).ethernet(kLanMac, kHostMac), kLan); }
  void expect_too_big(const Octets& packet, uint16_t mtu) {
    send(packet);
    EXPECT_EQ(bench.drops(), (Drops{{"too_big", 1}}));
    const auto punted = bench.punted();
    ASSERT_EQ(punted.size(), 1u);
    EXPECT_EQ(punted[0].reason, PuntReason::kTooBig);
    EXPECT_EQ(punted[0].mtu, mtu);
    EXPECT_TRUE(bench.transmitted(kWan).empty());
  }

  PipelineBench bench;
  RemoteSession& session = bench.add_session(bench.peer());
};

TEST_F(NarrowPath, SendersOfWhatMayNotBeSplitAreTold) {
  expect_too_big(v4(1221, {.dont_fragment = true}), 1220);
  expect_too_big(v6(1281), 1280);  // IPv6 has no smaller links
  narrow("2001:db8::2", 1200);
  expect_too_big(v4(1201, {.dont_fragment = true}), 1200);
  expect_too_big(v6(1281), 1280);
}

TEST_F(NarrowPath, WhatFitsGoesInOnePacketAndPaddingDoesNotMakeItTwo) {
  for (const size_t size : {1220u, 1219u, 1209u, 1208u, 1000u}) {
    send(v4(size, {.dont_fragment = true}));
    const auto frames = bench.transmitted(kWan);
    ASSERT_EQ(frames.size(), 1u) << size;
    EXPECT_LE(frames[0].size(), 14u + 1280u) << size;
  }
  EXPECT_EQ(bench.drops(), Drops{});
}

TEST_F(NarrowPath, WhatMayBeSplitIsSplitBeforeItIsSealed) {
  const Octets whole = v4(1420);
  send(whole);
  EXPECT_EQ(bench.drops(), Drops{});
  const auto messages = bench.messages_to_peer();
  ASSERT_EQ(messages.size(), 2u);
  Octets payload;
  for (const Octets& message : messages) {
    EXPECT_LE(message.size() + 28, 1280u);
    auto inner = session.open(message);
    ASSERT_TRUE(inner);
    const size_t length = *inner_length(*inner);
    EXPECT_LE(length, 1220u);
    payload.insert(payload.end(), inner->begin() + 20, inner->begin() + static_cast<ptrdiff_t>(length));
  }
  EXPECT_EQ(payload, Octets(whole.begin() + 20, whole.end()));
}

// RFC 2473, section 7.1: what IPv6 promises every sender goes through, in fragments of ours.
TEST_F(NarrowPath, Ipv6sMinimumLeavesInOuterFragments) {
  send(v6(1280));
  EXPECT_EQ(bench.drops(), Drops{});
  const auto frames = bench.transmitted(kWan);
  ASSERT_EQ(frames.size(), 2u);
  for (const Octets& frame : frames) EXPECT_LE(frame.size(), 14u + 1280u);
}

TEST_F(NarrowPath, StagedPacketsAreLookedAtToo) {
  PipelineBench fresh;
  fresh.receive(PacketBuilder(v4(1400, {.dont_fragment = true})).ethernet(kLanMac, kHostMac), kLan);
  fresh.outer_of(fresh.peer()).mtu = 1280;
  fresh.outer_of(fresh.peer()).inner_mtu = 1220;
  fresh.add_session(fresh.peer());
  fresh.run(flush_staged, fresh.peer().id);
  EXPECT_EQ(fresh.drops(), (Drops{{"too_big", 1}}));
  fresh.events();
}

TEST_F(NarrowPath, SegmentsAreClampedToIt) {
  bench.published().tunnels[kTunnel.value].mss_clamp = true;
  send(tcp_syn(1460, kHost, kInX));
  const auto messages = bench.messages_to_peer();
  ASSERT_EQ(messages.size(), 1u);
  auto out = session.open(messages[0]);
  ASSERT_TRUE(out);
  out->resize(44);
  EXPECT_EQ(*out, tcp_syn(1180, kHost, kInX, 63));
  bench.receive_message(session, 0, tcp_syn(1460, kInX, kHost));
  const auto frames = bench.transmitted(kLan);
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(Octets(frames[0].begin() + 14, frames[0].end()), tcp_syn(1180, kInX, kHost, 63));
}

// --- probes ---

TEST_F(NarrowPath, ProbesLeaveWholeAndMayNotBeSplit) {
  for (const char* endpoint : {"198.51.100.2", "2001:db8::2"}) {
    narrow(endpoint, 1200);
    const bool ipv4 = endpoint[0] == '1';
    for (const size_t outer : {1281u, 1400u, 1500u}) {
      const size_t headers = ipv4 ? 28 : 48;
      rte_mbuf* m = rte_pktmbuf_alloc(bench.pool());
      std::memset(rte_pktmbuf_append(m, static_cast<uint16_t>(outer - headers - kDataOverhead)), 7,
                  outer - headers - kDataOverhead);
      send_probe(bench.worker(), bench.peer().id, m);
      bench.worker().transmit->flush();
      const auto frames = bench.transmitted(kWan);
      ASSERT_EQ(frames.size(), 1u);
      EXPECT_EQ(frames[0].size(), 14 + outer);
      if (ipv4) {
        const auto* ip = reinterpret_cast<const Ipv4Header*>(frames[0].data() + 14);
        EXPECT_TRUE(ip->dont_fragment());
        EXPECT_EQ(checksum_fold(checksum_add(std::span(frames[0]).subspan(14, 20))), 0);
      }
      const auto inner = session.open(std::span(frames[0]).subspan(14 + headers));
      ASSERT_TRUE(inner);
      EXPECT_EQ(inner->size(), outer - headers - kDataOverhead);
    }
  }
  EXPECT_EQ(bench.peer().unanswered_data_sent_since, 0);
  EXPECT_EQ(bench.drops(), Drops{});
}

TEST_F(NarrowPath, ProbesWithoutAKeyGoNowhere) {
  PipelineBench keyless;
  rte_mbuf* m = rte_pktmbuf_alloc(keyless.pool());
  rte_pktmbuf_append(m, 1300);
  send_probe(keyless.worker(), keyless.peer().id, m);
  EXPECT_TRUE(keyless.events().empty());
  EXPECT_EQ(keyless.drops(), Drops{});
}

// --- DSCP ---

TEST(OuterClass, DscpAsTheTunnelSays) {
  struct Case {
    uint8_t copied, fixed, inner, outer;
  };
  constexpr uint8_t kEf = 46 << 2, kAf41 = 34 << 2, kEct0 = 2, kCe = 3;
  const Case cases[]{
      {0, 0, kEf | kEct0, kEct0},                // clear
      {kDscpMask, 0, kEf | kEct0, kEf | kEct0},  // copy
      {kDscpMask, 0, kEf | kCe, kEf | kEct0},    // ECN has its own table
      {0, kAf41, kEf | kEct0, kAf41 | kEct0},    // fixed
      {0, kAf41, 0, kAf41},
  };
  PipelineBench bench;
  bench.add_session(bench.peer());
  TunnelView& tunnel = bench.published().tunnels[kTunnel.value];
  for (const char* endpoint : {"198.51.100.2", "2001:db8::2"}) {
    bench.set_endpoint(bench.peer(), endpoint);
    for (const Case& c : cases) {
      tunnel.dscp_copied = c.copied;
      tunnel.dscp_fixed = c.fixed;
      bench.receive({PacketBuilder(64).ipv4(kHost, kInX, {.tos = c.inner}).ethernet(kLanMac, kHostMac),
                     PacketBuilder(64).ipv6(kHost6, kInX6, {.traffic_class = c.inner}).ethernet(kLanMac, kHostMac)},
                    kLan);
      bench.run(send_keepalive, bench.peer().id);
      const auto frames = bench.transmitted(kWan);
      ASSERT_EQ(frames.size(), 3u);
      for (size_t i = 0; i < 3; ++i)
        EXPECT_EQ(traffic_class_of(std::span(frames[i]).subspan(14)), i == 2 ? c.fixed : c.outer);
    }
  }
}

// --- reverse path ---

class ReversePathFilter : public testing::Test {
 protected:
  ReversePathFilter() {
    NextHop& out = bench.hop_to("203.0.113.0/24");
    out = bench.hop_to("10.1.0.0/16");
    out.port = kWan;
  }
  void filter(ReversePath wanted) {
    bench.published().ports[kLan.value].reverse_path = wanted;
    bench.published().checks_reverse_path = true;
  }
  bool passes(const char* source) {
    bench.receive(PacketBuilder(8).ipv4(source, "203.0.113.9").ethernet(kLanMac, kHostMac), kLan);
    const bool sent = bench.transmitted(kWan).size() == 1;
    EXPECT_EQ(bench.drops(), sent ? Drops{} : (Drops{{"reverse_path", 1}})) << source;
    return sent;
  }
  PipelineBench bench;
};

TEST_F(ReversePathFilter, AsksWhereTheSourceIs) {
  bench.hop_to("10.66.0.0/16").action = NextHop::Action::kBlackhole;
  const char *here = "10.1.0.7", *elsewhere = "203.0.113.7", *tunnel = "10.2.0.7", *nowhere = "192.0.2.1",
             *hole = "10.66.0.1";
  for (const char* source : {here, elsewhere, tunnel, nowhere, hole}) EXPECT_TRUE(passes(source));
  filter(ReversePath::kRouted);
  for (const char* source : {here, elsewhere, tunnel}) EXPECT_TRUE(passes(source));
  for (const char* source : {nowhere, hole}) EXPECT_FALSE(passes(source));
  filter(ReversePath::kSamePort);
  EXPECT_TRUE(passes(here));
  for (const char* source : {elsewhere, tunnel, nowhere, hole}) EXPECT_FALSE(passes(source));
  bench.hop_to("10.1.0.0/16").action =
      NextHop::Action::kUnresolved;  // a host that is not resolved is there all the same
  EXPECT_TRUE(passes(here));
}

TEST_F(ReversePathFilter, AppliesToMessagesButNotInsideTunnels) {
  RemoteSession& session = bench.add_session(bench.peer());
  bench.published().ports[kWan.value].reverse_path = ReversePath::kSamePort;
  filter(ReversePath::kSamePort);
  const Octets inner = PacketBuilder(8).ipv4("10.2.0.2", "10.1.0.2");
  bench.receive_message(session, 0, inner);
  EXPECT_EQ(bench.drops(), (Drops{{"reverse_path", 1}}));  // X's address is not routed on the bench
  NextHop& wan = bench.hop_to("198.51.100.0/24");
  wan = bench.hop_to("203.0.113.0/24");
  bench.receive_message(session, 1, inner);
  EXPECT_EQ(bench.drops(), Drops{});
  EXPECT_EQ(bench.transmitted(kLan).size(), 1u);
  bench.events();
}

}  // namespace
}  // namespace sluice::test
