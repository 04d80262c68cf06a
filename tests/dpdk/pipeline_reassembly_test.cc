// WireGuard messages that arrive in fragments: put together whatever their order, and never from pieces that do not
// fit; what is dropped has a name, and what waits is bounded.
#include <gtest/gtest.h>

#include <algorithm>

#include "dataplane/pipeline/reassembly.h"
#include "dataplane/wire/ip.h"
#include "tests/support/pipeline_bench.h"

namespace sluice::test {
namespace {

using Drops = std::map<std::string, uint64_t>;
constexpr const char *kX = "198.51.100.2", *kUs = "198.51.100.1", *kX6 = "2001:db8::2", *kUs6 = "2001:db8::1";

struct Range {
  size_t begin, end;
};

class ReassembledTest : public testing::TestWithParam<Family> {
 protected:
  bool ipv4() const { return GetParam() == Family::kIpv4; }

  // The UDP datagram of a message with an inner packet of that size, checksum right.
  Octets datagram(size_t inner_size = 400, uint16_t port = kListenPort) {
    const Octets inner = PacketBuilder(inner_size - 28).udp(1, 2).ipv4("10.2.0.2", "10.1.0.2");
    const Octets packet = around(session.seal(counter++, inner), port);
    return Octets(packet.begin() + (ipv4() ? 20 : 40), packet.end());
  }
  Octets around(const Octets& message, uint16_t port) const {
    PacketBuilder builder(message);
    builder.udp(51820, port);
    return ipv4() ? builder.ipv4(kX, kUs).build() : builder.ipv6(kX6, kUs6).build();
  }
  Octets piece(const Octets& datagram, Range range, bool more, uint16_t id = 1) const {
    const auto at = [&](size_t n) { return datagram.begin() + static_cast<ptrdiff_t>(n); };
    PacketBuilder builder(Octets(at(range.begin), at(range.end)));
    return framed(builder, range.begin, more, id);
  }
  Octets framed(PacketBuilder& payload, size_t offset, bool more, uint16_t id) const {
    if (ipv4()) {
      Octets frame = payload.ipv4(kX, kUs, {.more_fragments = more, .offset = static_cast<uint16_t>(offset)})
                         .ethernet(kWanMac, kRouterMac);
      auto* ip = reinterpret_cast<Ipv4Header*>(frame.data() + sizeof(EthernetHeader));
      ip->id = id;
      ip->checksum = ipv4_header_checksum(*ip);
      return frame;
    }
    Ipv6FragmentHeader header{.next_header = kProtocolUdp, .reserved = 0};
    header.offset_more = static_cast<uint16_t>(offset | (more ? 1 : 0));
    header.id = uint32_t{id};
    const auto* bytes = reinterpret_cast<const std::byte*>(&header);
    return payload.prepend(Octets(bytes, bytes + sizeof header))
        .ipv6(kX6, kUs6, {.next_header = kProtocolIpv6Fragment})
        .ethernet(kWanMac, kRouterMac);
  }
  std::vector<Octets> pieces(const Octets& datagram, const std::vector<Range>& ranges, uint16_t id = 1) const {
    std::vector<Octets> all;
    for (const Range& range : ranges) all.push_back(piece(datagram, range, range.end != datagram.size(), id));
    return all;
  }
  size_t delivered() { return bench.transmitted(kLan).size(); }
  unsigned idle_buffers() const { return bench.buffers_in_use(); }

  PipelineBench bench;
  RemoteSession& session = bench.add_session(bench.peer());
  uint64_t counter = 0;
};

INSTANTIATE_TEST_SUITE_P(Families, ReassembledTest, testing::Values(Family::kIpv4, Family::kIpv6),
                         [](const auto& named) { return named.param == Family::kIpv4 ? "Ipv4" : "Ipv6"; });

TEST_P(ReassembledTest, EveryOrder) {  // D-13
  std::vector<size_t> order{0, 1, 2, 3};
  size_t count = 0;
  do {
    const Octets whole = datagram();
    const auto all = pieces(whole, {{0, 104}, {104, 200}, {200, 304}, {304, whole.size()}}, ++count & 0xff);
    for (const size_t i : order) {
      EXPECT_EQ(delivered(), 0u);
      bench.receive(all[i]);
    }
    EXPECT_EQ(delivered(), 1u) << count;
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(bench.drops(), Drops{});
}

TEST_P(ReassembledTest, SeveralPacketsAtOnceAndInOneBurst) {
  const Octets one = datagram(), two = datagram(900);
  const auto first = pieces(one, {{0, 200}, {200, one.size()}}, 1);
  const auto second = pieces(two, {{0, 600}, {600, two.size()}}, 2);
  bench.receive({first[1], second[0], second[1], first[0]});
  EXPECT_EQ(delivered(), 2u);
  EXPECT_EQ(bench.drops(), Drops{});
}

// The smallest trick: bytes that were checked are replaced by others. Whatever overlaps, nothing is delivered.
TEST_P(ReassembledTest, OverlapsAreRefused) {
  const std::vector<std::vector<Range>> tricks{
      {{0, 104}, {96, 200}, {200, 0}},               // by a unit
      {{0, 104}, {0, 104}, {104, 0}},                // the first twice
      {{0, 200}, {48, 104}, {200, 0}},               // inside another
      {{0, 104}, {104, 200}, {104, 200}, {200, 0}},  // an inner one twice
      {{96, 200}, {200, 0}, {0, 104}},               // the overlap before the overlapped
  };
  for (size_t i = 0; i < tricks.size(); ++i) {
    const Octets whole = datagram();
    std::vector<Range> ranges = tricks[i];
    for (Range& range : ranges) range.end = range.end == 0 ? whole.size() : range.end;
    for (const Octets& frame : pieces(whole, ranges, static_cast<uint16_t>(50 + i))) bench.receive(frame);
    EXPECT_EQ(delivered(), 0u) << i;
    bench.advance(2 * Reassembly::kTimeout);
    bench.worker().reassembly->expire(bench.worker().now);
    const Drops drops = bench.drops();
    EXPECT_GT(drops.count("fragment_refused"), 0u) << i;
    uint64_t total = 0;
    for (const auto& [name, n] : drops) {
      EXPECT_TRUE(name == "fragment_refused" || name == "fragment_timeout") << name;
      total += n;
    }
    EXPECT_EQ(total, ranges.size()) << i;
    EXPECT_EQ(idle_buffers(), 0u);
  }
}

TEST_P(ReassembledTest, MoreThanEightFragmentsAreRefused) {
  const Octets whole = datagram(600);
  std::vector<Range> ranges;
  for (size_t i = 0; i < 9; ++i) ranges.push_back({i * 64, i == 8 ? whole.size() : (i + 1) * 64});
  for (const Octets& frame : pieces(whole, ranges)) bench.receive(frame);
  EXPECT_EQ(delivered(), 0u);
  bench.advance(2 * Reassembly::kTimeout);
  bench.worker().reassembly->expire(bench.worker().now);
  uint64_t total = 0;
  for (const auto& [name, n] : bench.drops()) total += n;
  EXPECT_EQ(total, 9u);
  EXPECT_EQ(idle_buffers(), 0u);
}

TEST_P(ReassembledTest, IncompletePacketsTimeOut) {
  const Octets whole = datagram();
  const auto all = pieces(whole, {{0, 104}, {104, 200}, {200, whole.size()}});
  bench.receive({all[0], all[2]});
  EXPECT_EQ(bench.drops(), Drops{});
  EXPECT_FALSE(bench.worker().reassembly->empty());
  bench.advance(Reassembly::kTimeout - 1ms);
  bench.worker().reassembly->expire(bench.worker().now);
  EXPECT_EQ(bench.drops(), Drops{});
  bench.advance(2ms);
  bench.worker().reassembly->expire(bench.worker().now);
  EXPECT_EQ(bench.drops(), (Drops{{"fragment_timeout", 2}}));
  EXPECT_TRUE(bench.worker().reassembly->empty());
  EXPECT_EQ(idle_buffers(), 0u);
  bench.receive(all[1]);  // too late: the beginning of a new one
  EXPECT_EQ(delivered(), 0u);
}

TEST_P(ReassembledTest, ImpossibleFragmentsAreDropped) {
  const Octets whole = datagram();
  bench.receive(piece(whole, {0, 100}, true));  // not the last, and no multiple of eight
  EXPECT_EQ(bench.drops(), (Drops{{"fragment_malformed", 1}}));
  PacketBuilder nothing{Octets{}};
  bench.receive(framed(nothing, 64, true, 3));
  EXPECT_EQ(bench.drops(), (Drops{{"fragment_malformed", 1}}));
  PacketBuilder beyond(100);
  bench.receive(framed(beyond, 65528, false, 4));  // the ping of death
  EXPECT_EQ(bench.drops(), (Drops{{"fragment_malformed", 1}}));
  EXPECT_TRUE(bench.worker().reassembly->empty());
}

// The bench's limit: 256 buffers wait, whoever sent them; and everything else goes on.
TEST_P(ReassembledTest, WhatWaitsIsBounded) {
  const Octets whole = datagram();
  for (uint16_t id = 1; id <= 300; ++id) bench.receive(piece(whole, {0, 104}, true, id));
  const Drops drops = bench.drops();
  ASSERT_EQ(drops.size(), 1u);
  EXPECT_GE(drops.at("fragments_full"), 300u - 256u);
  EXPECT_LE(idle_buffers(), 256u);
  bench.receive(
      PacketBuilder(around(session.seal(counter++, PacketBuilder(8).ipv4("10.2.0.2", "10.1.0.2")), kListenPort))
          .ethernet(kWanMac, kRouterMac));
  EXPECT_EQ(delivered(), 1u);
}

// What is not for a tunnel is Linux's, as a whole: its link-layer header in front, its IP header in order.
TEST_P(ReassembledTest, OtherDatagramsGoToLinuxWhole) {
  const Octets whole = datagram(400, 500);
  for (const Octets& frame : pieces(whole, {{0, 200}, {200, whole.size()}})) bench.receive(frame);
  EXPECT_EQ(bench.drops(), Drops{});
  const auto punted = bench.punted();
  ASSERT_EQ(punted.size(), 1u);
  EXPECT_EQ(punted[0].l2_size, 14);
  PacketBuilder expected(whole);
  if (ipv4()) {
    Octets frame = expected.ipv4(kX, kUs).ethernet(kWanMac, kRouterMac);
    auto* ip = reinterpret_cast<Ipv4Header*>(frame.data() + 14);
    ip->id = uint16_t{1};
    ip->checksum = ipv4_header_checksum(*ip);
    EXPECT_EQ(hex(punted[0].bytes), hex(frame));
  } else {
    EXPECT_EQ(hex(punted[0].bytes), hex(expected.ipv6(kX6, kUs6).ethernet(kWanMac, kRouterMac).build()));
  }
}

TEST_P(ReassembledTest, TheChecksumIsThatOfTheWhole) {
  Octets whole = datagram();
  whole[300] ^= std::byte{1};
  for (const Octets& frame : pieces(whole, {{0, 200}, {200, whole.size()}})) bench.receive(frame);
  EXPECT_EQ(bench.drops(), (Drops{{"udp_checksum", 1}}));
}

TEST_P(ReassembledTest, WholesThatFitNoBufferAreDropped) {
  const Octets huge = [&] {
    const Octets packet = around(Octets(4000), kListenPort);
    return Octets(packet.begin() + (ipv4() ? 20 : 40), packet.end());
  }();
  for (const Octets& frame : pieces(huge, {{0, 1400}, {1400, 2800}, {2800, huge.size()}})) bench.receive(frame);
  EXPECT_EQ(bench.drops(), (Drops{{"frame_too_long", 1}}));
  EXPECT_EQ(idle_buffers(), 0u);
}

// RFC 6946: a fragment header on a packet that is whole.
TEST(Reassembled, AtomicFragmentsNeedNobody) {
  PipelineBench bench;
  RemoteSession& session = bench.add_session(bench.peer());
  const Octets header{std::byte{17}, std::byte{0}, std::byte{0}, std::byte{0},
                      std::byte{0},  std::byte{0}, std::byte{0}, std::byte{9}};
  const Octets plain = PacketBuilder(session.seal(0, {})).udp(51820, kListenPort).ipv6(kX6, kUs6);
  bench.receive(PacketBuilder(Octets(plain.begin() + 40, plain.end()))
                    .prepend(header)
                    .ipv6(kX6, kUs6, {.next_header = kProtocolIpv6Fragment})
                    .ethernet(kWanMac, kRouterMac));
  EXPECT_EQ(bench.drops(), Drops{});
  EXPECT_EQ(session.keypair->receiving.bytes, kDataOverhead);
  bench.events();
}

}  // namespace
}  // namespace sluice::test
