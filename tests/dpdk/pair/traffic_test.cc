// Two gateways, two hosts: traffic through the tunnel on a good wire and on bad ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/dpdk/pair/pair_fixture.h"
#include "tests/support/gateway_pair.h"

namespace sluice::test {
namespace {

class EveryWay : public testing::TestWithParam<std::tuple<Family, Family, bool>> {};

TEST_P(EveryWay, CarriesPacketsBothWays) {  // D-02, H-01, H-02, H-03
  const auto [inner, outer, psk] = GetParam();
  GatewayPair::Options options;
  options.outer = outer;
  options.preshared_key = psk;
  GatewayPair pair(options);
  const IpAddress host_a = pair.a.site().host(inner), host_b = pair.b.site().host(inner);
  for (uint32_t i = 1; i <= 20; ++i) pair.a.host_sends(udp_packet(host_a, host_b, i));
  pair.settle();
  EXPECT_EQ(sequences(pair.arrived_at_b()).size(), 20u);
  for (uint32_t i = 1; i <= 20; ++i) pair.b.host_sends(udp_packet(host_b, host_a, i));
  pair.settle();
  const auto back = sequences(pair.arrived_at_a());
  EXPECT_EQ(back.size(), 20u);
  EXPECT_TRUE(strictly_ascending(back));
  EXPECT_EQ(pair.count(MessageType::kInitiation), 1u);
  EXPECT_EQ(pair.count(MessageType::kResponse), 1u);
  EXPECT_EQ(pair.a.drop_names(), std::vector<std::string>{});
  EXPECT_EQ(pair.b.drop_names(), std::vector<std::string>{});
}

INSTANTIATE_TEST_SUITE_P(Pair, EveryWay,
                         testing::Combine(testing::Values(Family::kIpv4, Family::kIpv6),
                                          testing::Values(Family::kIpv4, Family::kIpv6), testing::Bool()));

TEST(Pair, TheStagedPacketIsTheFirstDataMessage) {  // I-01
  GatewayPair pair;
  pair.shake_hands();
  const auto first = std::find_if(pair.seen.begin(), pair.seen.end(),
                                  [](const Packet& f) { return type_of(f) == MessageType::kData; });
  ASSERT_NE(first, pair.seen.end());
  const auto& header = *reinterpret_cast<const DataHeader*>(message_in(*first).data());
  EXPECT_EQ(header.counter.host(), 0u);
  EXPECT_GT(message_in(*first).size(), kDataOverhead);
}

TEST(Pair, CountsBytesAsTheKernelDoes) {  // D-10: ten pings of 84 bytes
  GatewayPair pair;
  const IpAddress host_a = pair.a.site().host(Family::kIpv4), host_b = pair.b.site().host(Family::kIpv4);
  for (uint32_t i = 1; i <= 10; ++i) {
    pair.a.host_sends(udp_packet(host_a, host_b, i, 56));
    pair.settle();
    pair.b.host_sends(udp_packet(host_b, host_a, i, 56));
    pair.settle();
  }
  EXPECT_EQ(pair.b_at_a->rx_bytes(), 92u + 10 * 128);
  EXPECT_EQ(pair.b_at_a->tx_bytes(), 148u + 10 * 128);
}

TEST(Pair, LossAndDuplicationDeliverNothingTwice) {
  GatewayPair pair;
  pair.shake_hands();
  SeededRng rng(5);
  pair.a_to_b = [&](Packet frame) -> std::vector<Packet> {
    if (rng.below(4) == 0) return {};
    if (rng.below(3) == 0) return {frame, frame};
    return {std::move(frame)};
  };
  const IpAddress host_a = pair.a.site().host(Family::kIpv4), host_b = pair.b.site().host(Family::kIpv4);
  std::vector<uint32_t> got;
  for (uint32_t i = 1; i <= 2000; ++i) {
    pair.a.host_sends(udp_packet(host_a, host_b, i));
    pair.step();
    for (uint32_t n : sequences(pair.arrived_at_b())) got.push_back(n);
  }
  EXPECT_GT(got.size(), 1300u);
  EXPECT_LT(got.size(), 1700u);
  EXPECT_TRUE(strictly_ascending(got));
  EXPECT_EQ(pair.b.drop_names(), std::vector<std::string>{"data_replay"});
}

TEST(Pair, ReorderingInsideTheWindowDeliversAll) {  // D-08
  GatewayPair pair;
  pair.shake_hands();
  SeededRng rng(6);
  std::vector<Packet> pool;
  pair.a_to_b = [&](Packet frame) -> std::vector<Packet> {
    pool.push_back(std::move(frame));
    if (pool.size() < 64) return {};
    const size_t pick = rng.below(static_cast<uint32_t>(pool.size()));
    Packet out = std::move(pool[pick]);
    pool.erase(pool.begin() + static_cast<ptrdiff_t>(pick));
    return {std::move(out)};
  };
  const IpAddress host_a = pair.a.site().host(Family::kIpv4), host_b = pair.b.site().host(Family::kIpv4);
  std::set<uint32_t> got;
  for (uint32_t i = 1; i <= 3000; ++i) {
    pair.a.host_sends(udp_packet(host_a, host_b, i));
    pair.step();
    for (uint32_t n : sequences(pair.arrived_at_b())) EXPECT_TRUE(got.insert(n).second) << n;
  }
  EXPECT_EQ(got.size(), 3000u - 63u);
  EXPECT_EQ(pair.b.drop_names(), std::vector<std::string>{});
}

TEST(Pair, CorruptedDataFailsAuthenticationAndChangesNothing) {
  GatewayPair pair;
  pair.shake_hands();
  SeededRng rng(7);
  const size_t headers = 14 + 20 + 8 + sizeof(DataHeader);
  pair.a_to_b = [&](Packet frame) -> std::vector<Packet> {
    Packet bad = frame;
    bad[headers + rng.below(static_cast<uint32_t>(bad.size() - headers))] ^= std::byte{1};
    bad[40] = bad[41] = std::byte{0};  // without a UDP checksum, which IPv4 allows: the tag has to find it
    return {std::move(bad), std::move(frame)};
  };
  const IpAddress host_a = pair.a.site().host(Family::kIpv4), host_b = pair.b.site().host(Family::kIpv4);
  for (uint32_t i = 1; i <= 200; ++i) {
    pair.a.host_sends(udp_packet(host_a, host_b, i));
    pair.step();
  }
  pair.settle();
  EXPECT_EQ(pair.arrived_at_b().size(), 200u);
  EXPECT_EQ(pair.b.drop_names(), std::vector<std::string>{"data_authentication"});
  EXPECT_EQ(pair.b.drops(Drop::data_authentication), 200u);
}

TEST(Pair, RekeysUnderTrafficWithoutLossOrReordering) {  // D-23, T-07
  GatewayPair pair;
  pair.shake_hands();
  const IpAddress host_a = pair.a.site().host(Family::kIpv4), host_b = pair.b.site().host(Family::kIpv4);
  std::vector<uint32_t> at_a, at_b;
  uint32_t sent = 0;
  for (const MonoTime end = pair.clock.now() + std::chrono::seconds(600); pair.clock.now() < end;) {
    ++sent;
    pair.a.host_sends(udp_packet(host_a, host_b, sent));
    pair.b.host_sends(udp_packet(host_b, host_a, sent));
    pair.run(std::chrono::milliseconds(100), std::chrono::milliseconds(50));
    for (uint32_t n : sequences(pair.arrived_at_a())) at_a.push_back(n);
    for (uint32_t n : sequences(pair.arrived_at_b())) at_b.push_back(n);
  }
  EXPECT_EQ(at_a.size(), sent);
  EXPECT_EQ(at_b.size(), sent);
  EXPECT_TRUE(strictly_ascending(at_a));
  EXPECT_TRUE(strictly_ascending(at_b));
  EXPECT_EQ(pair.count(MessageType::kInitiation), 5u);  // at 0, 120, 240, 360 and 480 s, all by the first initiator
  EXPECT_EQ(pair.a.drop_names(), std::vector<std::string>{});
  EXPECT_EQ(pair.b.drop_names(), std::vector<std::string>{});
}

TEST(Pair, OfSeveralMovesInABurstTheLastCounts) {
  GatewayPair pair;
  pair.shake_hands();
  const Endpoint home = pair.a_at_b->at.remote;
  unsigned passed = 0;
  pair.a_to_b = [&](Packet frame) -> std::vector<Packet> {
    constexpr size_t kSourcePort = 14 + 20, kChecksum = kSourcePort + 6;
    if (passed++ == 0)
      frame[kSourcePort] = frame[kSourcePort + 1] = frame[kChecksum] = frame[kChecksum + 1] = std::byte{0};
    return {std::move(frame)};
  };
  const IpAddress host_a = pair.a.site().host(Family::kIpv4), host_b = pair.b.site().host(Family::kIpv4);
  for (uint32_t i = 1; i <= 2; ++i) pair.a.host_sends(udp_packet(host_a, host_b, i));
  pair.settle();
  EXPECT_EQ(pair.arrived_at_b().size(), 2u);
  EXPECT_EQ(pair.a_at_b->at.remote, home);
}

TEST(Pair, LeavesNoPacketBehind) {
  GatewayPair pair;
  const unsigned a_before = pair.a.packets_in_use(), b_before = pair.b.packets_in_use();
  pair.shake_hands();
  pair.settle();
  EXPECT_EQ(pair.a.packets_in_use(), a_before);
  EXPECT_EQ(pair.b.packets_in_use(), b_before);
}

}  // namespace
}  // namespace sluice::test
