#include "dataplane/forward/flow_hash.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>

#include "tests/support/packet_builder.h"
#include "tests/support/seeded_rng.h"

namespace sluice::test {
namespace {

uint32_t hash_of(const Octets& packet) { return FlowHash().of(packet); }

TEST(FlowHash, IsTheFlowsAndNothingElses) {
  const auto packet = [](uint16_t port, size_t size, Ipv4Fields fields = {}) {
    return PacketBuilder(size).udp(1000, port).ipv4("10.1.0.2", "10.2.0.2", fields).build();
  };
  EXPECT_EQ(hash_of(packet(53, 10)), hash_of(packet(53, 900, {.tos = 8, .ttl = 3})));
  EXPECT_EQ(hash_of(packet(53, 10)), hash_of(packet(53, 10, {.options_size = 8})));
  EXPECT_NE(hash_of(packet(53, 10)), hash_of(packet(54, 10)));
  EXPECT_EQ(hash_of(packet(53, 10, {.more_fragments = true})), hash_of(packet(54, 10, {.offset = 8})));
  const auto ipv6 = [](uint16_t port, const char* to) {
    return PacketBuilder(9).udp(1000, port).ipv6("fd01::2", to).build();
  };
  EXPECT_EQ(hash_of(ipv6(53, "fd02::2")), hash_of(ipv6(53, "fd02::2")));
  EXPECT_NE(hash_of(ipv6(53, "fd02::2")), hash_of(ipv6(54, "fd02::2")));
  EXPECT_NE(hash_of(ipv6(53, "fd02::2")), hash_of(ipv6(53, "fd02::3")));
}

// An outsider who knows flows that take one way under one key knows nothing of the next.
TEST(FlowHash, DependsOnItsKey) {
  SeededRng rng;
  const FlowHash one(rng), other(rng);
  const Endpoint remote{*parse_address("192.0.2.1"), 51820};
  EXPECT_NE(one.of(remote), other.of(remote));
  EXPECT_EQ(one.of(remote), FlowHash(one).of(remote));
  std::array<unsigned, 64> buckets{};
  for (uint16_t port = 0; port < 6400; ++port) {
    const Octets packet = PacketBuilder(0).udp(1000, port).ipv4("10.1.0.2", "10.2.0.2").build();
    if (one.of(packet) % 64 == 0) ++buckets[other.of(packet) % 64];
  }
  EXPECT_LT(*std::max_element(buckets.begin(), buckets.end()), 12u);  // of about 100
}

TEST(FlowHash, DoesNotLookBehindThePacket) {
  for (size_t payload = 0; payload < 4; ++payload) {
    const Octets ipv4 = PacketBuilder(payload).ipv4("10.1.0.2", "10.2.0.2").build();
    const Octets ipv6 = PacketBuilder(payload).ipv6("fd01::2", "fd02::2").build();
    hash_of(Octets(ipv4.begin(), ipv4.end()));  // the sanitizer sees what is read
    hash_of(Octets(ipv6.begin(), ipv6.end()));
  }
}

TEST(FlowHash, SpreadsNeighbouringFlows) {
  std::array<unsigned, 64> buckets{};
  for (uint16_t port = 0; port < 6400; ++port)
    ++buckets[hash_of(PacketBuilder(0).udp(1000, port).ipv4("10.1.0.2", "10.2.0.2")) % 64];
  for (const unsigned n : buckets) {
    EXPECT_GT(n, 50u);
    EXPECT_LT(n, 150u);
  }
}

}  // namespace
}  // namespace sluice::test
