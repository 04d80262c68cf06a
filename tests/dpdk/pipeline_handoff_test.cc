// Packets that arrive at a worker that does not own their keypair.
#include <gtest/gtest.h>
#include <rte_ring.h>

#include "tests/support/pipeline_bench.h"

namespace sluice::test {
namespace {

using Drops = std::map<std::string, uint64_t>;

class Handoff : public testing::Test {
 protected:
  static Octets inner(size_t size = 16) { return PacketBuilder(size).ipv4("10.2.0.2", "10.0.0.1"); }
  std::vector<Octets> messages(uint64_t from, uint64_t n) {
    std::vector<Octets> frames;
    for (uint64_t i = 0; i < n; ++i) frames.push_back(bench.datagram(session.seal(from + i, inner(i))));
    return frames;
  }

  PipelineBench bench{2};
  RemoteSession& session = bench.add_session(bench.peer(), {.owner = WorkerId(1)});
};

TEST_F(Handoff, CrossesOnceInOrderAndKeepsItsOuterHeaders) {
  bench.receive(messages(0, 20), kWan, 0);
  EXPECT_TRUE(bench.punted(0).empty());
  EXPECT_TRUE(bench.punted(1).empty());
  bench.take_handed_off(1);
  const auto punted = bench.punted(1);
  ASSERT_EQ(punted.size(), 20u);
  for (size_t i = 0; i < 20; ++i) EXPECT_EQ(punted[i].bytes, inner(i));
  EXPECT_EQ(bench.drops(), Drops{});
  for (const Event& event : bench.events(1)) EXPECT_NE(event.kind, EventKind::kEndpointMoved);
  EXPECT_TRUE(bench.events(0).empty());
}

TEST_F(Handoff, ChecksumsAreVerifiedWhereItIsOpened) {  // D-16
  std::vector<Octets> frames = messages(0, 3);
  frames[1].back() ^= std::byte{1};
  bench.receive(frames, kWan, 0);
  EXPECT_EQ(bench.drops(), Drops{});
  bench.take_handed_off(1);
  EXPECT_EQ(bench.punted(1).size(), 2u);
  EXPECT_EQ(bench.drops(), (Drops{{"udp_checksum", 1}}));
}

TEST_F(Handoff, SchedulesThePeerOnce) {
  bench.receive(messages(0, 5), kWan, 0);
  bench.receive(messages(5, 5), kWan, 0);
  PeerId ready[8];
  EXPECT_EQ(bench.mailbox(1).take_ready(ready, 8), 1u);
  EXPECT_EQ(ready[0], bench.peer().id);
}

TEST_F(Handoff, SameCounterAtTwoWorkersIsDeliveredOnce) {  // W-08
  bench.receive(messages(7, 1), kWan, 0);
  bench.receive(messages(7, 1), kWan, 1);
  bench.take_handed_off(1);
  EXPECT_EQ(bench.punted(0).size() + bench.punted(1).size(), 1u);
  EXPECT_EQ(bench.drops(), (Drops{{"data_replay", 1}}));
}

TEST_F(Handoff, FullRingDropsTheNewest) {
  bench.receive(messages(0, 64), kWan, 0);
  bench.receive(messages(64, 64), kWan, 0);
  bench.receive(messages(128, 3), kWan, 0);
  EXPECT_EQ(bench.drops(), (Drops{{"handoff_full", 3}}));
}

TEST_F(Handoff, SessionThatIsGoneMeanwhile) {
  bench.receive(messages(0, 1), kWan, 0);
  bench.withdraw(session);
  bench.take_handed_off(1);
  EXPECT_EQ(bench.drops(), (Drops{{"handoff_stale", 1}}));
}

TEST_F(Handoff, NothingCrossesTwice) {
  bench.receive(messages(0, 1), kWan, 0);
  session.keypair->receiving.owner = WorkerId(0);  // as if the index had gone to a new keypair
  bench.take_handed_off(1);
  EXPECT_EQ(bench.drops(), (Drops{{"handoff_stale", 1}}));
}

TEST_F(Handoff, PeerWithoutARing) {
  bench.rest_of(bench.peer()).handoff[1] = nullptr;
  bench.receive(messages(0, 1), kWan, 0);
  EXPECT_EQ(bench.drops(), (Drops{{"handoff_stale", 1}}));
}

TEST_F(Handoff, AnyWorkerSealsAndNoCounterRepeats) {  // W-08
  const Octets frame = PacketBuilder(16).ipv4("10.1.0.2", "10.2.0.2").ethernet(kLanMac, kHostMac);
  for (unsigned i = 0; i < 10; ++i) bench.receive(std::vector<Octets>(3, frame), kLan, i % 2);
  const auto sent = bench.messages_to_peer();
  ASSERT_EQ(sent.size(), 30u);
  for (uint64_t i = 0; i < 30; ++i) EXPECT_EQ(reinterpret_cast<const DataHeader*>(sent[i].data())->counter.host(), i);
}

}  // namespace
}  // namespace sluice::test
