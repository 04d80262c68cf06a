// What is remembered of flows has to be what the tables say: the same packets are asked about with and without memory.
#include "dataplane/pipeline/recent_flows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <set>
#include <span>
#include <tuple>
#include <vector>

#include "dataplane/pipeline/context.h"
#include "tests/support/eal_fixture.h"
#include "tests/support/seeded_rng.h"

namespace sluice {
namespace {

using Action = NextHop::Action;

constexpr uint16_t kPorts = 2, kTunnels = 2;

class RecentFlowsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    packets_.resize(kBurst);
    ASSERT_EQ(rte_pktmbuf_alloc_bulk(pool_.get(), packets_.data(), kBurst), 0);
    for (rte_mbuf* m : packets_) rte_pktmbuf_append(m, 64);
    published_.checks_reverse_path = true;
    for (uint16_t port = 0; port < kPorts; ++port)
      published_.ports.push_back(
          {.id = PortId(port), .reverse_path = port == 0 ? ReversePath::kAny : ReversePath::kSamePort});
    publish();
    context_->published = &published_;
    context_->peers = &peers_;
  }
  void TearDown() override { rte_pktmbuf_free_bulk(packets_.data(), kBurst); }

  // Other tables: routes of every action, one of two next hops, allowed IPs of two tunnels, a prefix that peers share.
  void publish() {
    routes_ = std::make_unique<PrefixMap>();
    hops_.clear();
    for (unsigned i = 0; i < 24; ++i)
      hops_.push_back({.action = static_cast<Action>(rng_.below(8)),
                       .mtu = static_cast<uint16_t>(1400 + i),
                       .port = PortId(static_cast<uint16_t>(i % kPorts)),
                       .tunnel = TunnelId(static_cast<uint16_t>(i % kTunnels)),
                       .gateway = random_address(true)});
    for (size_t bucket = 0; bucket < NextHopGroup::kBuckets; ++bucket) group_[0].hops[bucket] = bucket % 2;
    for (uint32_t i = 0; i < 60; ++i)
      routes_->insert(random_prefix(), i % 10 == 0 ? Fib::kGroup : i % static_cast<uint32_t>(hops_.size()));
    published_.fib = Fib(routes_->view(), hops_, local_, group_, flows_);
    shared_ = {{.slots = {1, 7}, .latest = 7}};
    published_.tunnels.clear();
    for (uint16_t tunnel = 0; tunnel < kTunnels; ++tunnel) {
      allowed_[tunnel] = std::make_unique<PrefixMap>();
      for (uint32_t i = 0; i < 60; ++i) allowed_[tunnel]->insert(random_prefix(), i % 9 == 0 ? kSharedOwners : i);
      published_.tunnels.push_back({.id = TunnelId(tunnel),
                                    .up = true,
                                    .mtu = 1420,
                                    .allowed_ips = allowed_[tunnel]->view(),
                                    .shared_owners = shared_});
    }
    remembering_->forget();
  }

  IpAddress random_address(bool ipv4) {  // of few different bytes, so that many come again
    std::array<uint8_t, 16> bytes{};
    for (size_t i = 0; i < (ipv4 ? 4u : 8u); ++i) bytes[i] = static_cast<uint8_t>(10 + rng_.below(2) * 100);
    return ipv4 ? IpAddress::ipv4(bytes.data()) : IpAddress::ipv6(bytes.data());
  }
  Prefix random_prefix() {
    const IpAddress address = random_address(rng_.below(2) == 0);
    return Prefix::make(address, rng_.below(address.is_ipv4() ? 33 : 65));
  }

  void write(rte_mbuf* m) {
    static constexpr Origin kOrigins[]{Origin::kNetwork, Origin::kNetwork, Origin::kOurs, Origin::kTunnel};
    const bool ipv4 = rng_.below(2) == 0;
    const bool by_port = rng_.below(2) == 0;
    auto* at = rte_pktmbuf_mtod(m, std::byte*);
    std::memset(at, 0, 64);
    at[0] = static_cast<std::byte>(ipv4 ? 0x45 : 0x60);
    const IpAddress from = random_address(ipv4), to = random_address(ipv4);
    std::byte* addresses = at + (ipv4 ? offsetof(Ipv4Header, source) : offsetof(Ipv6Header, source));
    std::memcpy(addresses, from.bytes.data(), from.size());
    std::memcpy(addresses + from.size(), to.bytes.data(), to.size());
    // An IPv6 pair whose first eight bytes are those of an IPv4 pair, and nothing else.
    if (!ipv4 && rng_.below(4) == 0) std::memset(addresses + 8, 0, 24);
    at[ipv4 ? offsetof(Ipv4Header, protocol) : offsetof(Ipv6Header, next_header)] = std::byte{kProtocolUdp};
    at[(ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header)) + 1] = static_cast<std::byte>(rng_.below(8));  // source port
    const Origin origin = kOrigins[rng_.below(4)];
    const bool network = origin == Origin::kNetwork && by_port;
    meta(m).from = {.in_port = network ? PortId(static_cast<uint16_t>(rng_.below(kPorts))) : kNoPort,
                    .tunnel = network ? kNoTunnel : TunnelId(static_cast<uint16_t>(rng_.below(kTunnels))),
                    .worker = WorkerId(0),
                    .origin = origin,
                    .family = ipv4 ? Family::kIpv4 : Family::kIpv6,
                    .zero = 0};
  }

  void find(RecentFlows& flows, std::span<rte_mbuf*> packets) {
    for (rte_mbuf* m : packets) flows.ask_for(m);
    flows.find(*context_, packets);
  }

  // One route, whose MTU is 1400.
  void route_everything() {
    hops_ = {{.action = Action::kPort, .mtu = 1400}};
    routes_ = std::make_unique<PrefixMap>();
    routes_->insert(*parse_prefix("0.0.0.0/0"), 0);
    published_.fib = Fib(routes_->view(), hops_, local_, group_, flows_);
    remembering_->forget();
  }
  // What is said of a packet from a network; its source and its destination.
  uint16_t mtu_of(const std::array<uint8_t, 8>& addresses) {
    rte_mbuf* const m = packets_[0];
    write(m);
    meta(m).from = {.in_port = PortId(0),
                    .tunnel = kNoTunnel,
                    .worker = WorkerId(0),
                    .origin = Origin::kNetwork,
                    .family = Family::kIpv4,
                    .zero = 0};
    std::memcpy(rte_pktmbuf_mtod_offset(m, std::byte*, offsetof(Ipv4Header, source)), addresses.data(),
                addresses.size());
    find(*remembering_, {packets_.data(), 1});
    return meta(m).flow.mtu;
  }

  static auto as_tuple(const FlowVerdict& v) {
    return std::tuple(v.next_hop, v.source_owner, v.destination_owner, v.mtu, v.source_fault);
  }

  test::SeededRng rng_{5};
  PacketPool pool_ = test::small_pool(1023, kPacketMetaSize);
  std::vector<rte_mbuf*> packets_;
  std::vector<NextHop> hops_;
  std::vector<NextHopGroup> group_{1};
  std::vector<SharedOwners> shared_;
  LocalAddresses local_;
  FlowHash flows_;
  std::unique_ptr<PrefixMap> routes_, allowed_[kTunnels];
  Published published_;
  std::unique_ptr<WorkerContext> context_ = std::make_unique<WorkerContext>();
  PeerTable peers_{16};
  std::unique_ptr<RecentFlows> remembering_ = std::make_unique<RecentFlows>();
};

TEST_F(RecentFlowsTest, AnswerAsTheTablesDo) {
  std::set<decltype(as_tuple({}))> different;
  const auto forgetting = std::make_unique<RecentFlows>();
  for (int round = 0; round < 20; ++round) {
    publish();
    for (int burst = 0; burst < 100; ++burst) {
      for (rte_mbuf* m : packets_) write(m);
      find(*remembering_, packets_);
      std::vector<FlowVerdict> remembered;
      for (rte_mbuf* m : packets_) remembered.push_back(meta(m).flow);
      for (rte_mbuf*& m : packets_) {
        forgetting->forget();
        find(*forgetting, {&m, 1});
      }
      for (size_t i = 0; i < packets_.size(); ++i) {
        const FlowVerdict& expected = meta(packets_[i]).flow;
        ASSERT_EQ(as_tuple(remembered[i]), as_tuple(expected)) << "round " << round << ", packet " << i;
        different.insert(as_tuple(expected));
      }
    }
  }
  EXPECT_GT(different.size(), 500u);  // it was worth asking
}

// Whoever looks at a place is answered as by who looks for the flow, or not at all.
TEST_F(RecentFlowsTest, RecallAsTheyAnswer) {
  unsigned asked = 0, recalled = 0, recalled_by_others = 0;
  for (int round = 0; round < 10; ++round) {
    publish();
    for (int burst = 0; burst < 50; ++burst) {
      for (rte_mbuf* m : packets_) write(m);
      find(*remembering_, packets_);
      for (size_t i = 0; i < packets_.size(); ++i) {
        rte_mbuf *const m = packets_[i], *const other = packets_[(i + 1) % packets_.size()];
        const FlowVerdict answer = meta(m).flow, others = meta(other).flow;
        uint32_t place = remembering_->other_place(m, UINT32_MAX);
        if (!remembering_->recall(m, place)) place = remembering_->other_place(m, place);
        ++asked;
        recalled += remembering_->recall(m, place);
        ASSERT_EQ(as_tuple(meta(m).flow), as_tuple(answer));
        recalled_by_others += remembering_->recall(other, place);
        ASSERT_EQ(as_tuple(meta(other).flow), as_tuple(others));
      }
    }
    remembering_->forget();
    for (rte_mbuf* m : packets_) ASSERT_FALSE(remembering_->recall(m, remembering_->other_place(m, UINT32_MAX)));
  }
  EXPECT_GT(recalled, asked / 2);  // all but those that take a group of next hops
  EXPECT_LT(recalled_by_others, asked / 10);
}

// As many flows as fill a third of the places: after some rounds each of them has found one, whatever the addresses
// that networks have in common make of their hashes.
TEST_F(RecentFlowsTest, RememberManyFlowsOfManyNetworks) {
  constexpr unsigned kFlows = 160'000, kRounds = 5;
  route_everything();
  // Each host of 100.64.0.0/10 to one of ours, and back.
  const auto find_flow = [&](unsigned n) {
    const auto byte = [](unsigned number, unsigned shift) { return static_cast<uint8_t>(number >> shift); };
    const unsigned host = n / 2;
    const uint8_t theirs[] = {100, static_cast<uint8_t>(64 + byte(host, 16)), byte(host, 8), byte(host, 0)};
    const uint8_t ours[] = {10, 1, 0, static_cast<uint8_t>(host % 64)};
    std::array<uint8_t, 8> addresses;
    std::copy_n(n % 2 == 0 ? theirs : ours, 4, addresses.begin());
    std::copy_n(n % 2 == 0 ? ours : theirs, 4, addresses.begin() + 4);
    return mtu_of(addresses);
  };
  for (unsigned round = 0; round < kRounds; ++round)
    for (unsigned n = 0; n < kFlows; ++n) find_flow(n);
  hops_[0].mtu = 1300;  // whoever asks the tables hears of it
  unsigned forgotten = 0;
  for (unsigned n = 0; n < kFlows; ++n) forgotten += find_flow(n) != 1400;
  EXPECT_LT(forgotten, kFlows / 100);
}

// The tables say something else meanwhile, and nobody has said so: what is answered as before was remembered. The hosts
// of either network differ in one byte of their addresses only, the receivers in the last.
TEST_F(RecentFlowsTest, RememberHostsOfOneNetwork) {
  constexpr unsigned kHosts = 100;
  route_everything();
  const auto with_mtu = [&](uint16_t mtu) {
    unsigned count = 0;
    for (unsigned from = 0; from < kHosts; ++from)
      for (unsigned to = 0; to < kHosts; ++to)
        count += mtu_of({10, 1, static_cast<uint8_t>(from), 7, 10, 2, 5, static_cast<uint8_t>(to)}) == mtu;
    return count;
  };
  EXPECT_EQ(with_mtu(1400), kHosts * kHosts);
  hops_[0].mtu = 1300;
  EXPECT_GT(with_mtu(1400), kHosts * kHosts * 9 / 10);
  remembering_->forget();
  EXPECT_EQ(with_mtu(1300), kHosts * kHosts);
}

}  // namespace
}  // namespace sluice
