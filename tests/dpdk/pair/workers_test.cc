// Two workers: sessions have an owner, what arrives elsewhere crosses once, and nothing is delivered twice or out of
// order.
#include <set>

#include "tests/dpdk/pair/pair_fixture.h"

namespace sluice::test {
namespace {

using enum MessageType;

class Workers : public PairTest {
 protected:
  void SetUp() override {
    GatewayPair::Options options;
    options.a.workers = options.b.workers = 2;
    start(options);
  }
  // Takes what a sends off the wire.
  std::vector<Packet> take_data_of_a(unsigned packets) {
    from_a.rule = lose;
    const size_t before = from_a.count(kData);
    a_sends(packets);
    pair().settle();
    from_a.rule = {};
    auto all = from_a.of_type(kData);
    return {all.begin() + static_cast<ptrdiff_t>(before), all.end()};
  }
};

TEST_F(Workers, ASessionBelongsToTheWorkerThatGotItsHandshake) {
  from_a.rule = lose;
  from_b.rule = lose;
  a_sends();
  pair().settle();
  inject(b(), from_a.of_type(kInitiation).front(), 1);
  ASSERT_NE(pair().a_at_b->contact->next, nullptr);
  EXPECT_EQ(pair().a_at_b->contact->next->receiving.owner.value, 1);
  inject(a(), from_b.of_type(kResponse).front(), 1);
  ASSERT_NE(pair().b_at_a->current(), nullptr);
  EXPECT_EQ(pair().b_at_a->current()->receiving.owner.value, 1);
}

TEST_F(Workers, WhatArrivesAtTheOtherWorkerCrossesInOrder) {
  pair().shake_hands();
  ASSERT_EQ(pair().a_at_b->current()->receiving.owner.value, 0);
  const auto frames = take_data_of_a(100);
  ASSERT_EQ(frames.size(), 100u);
  for (const Packet& frame : frames) ASSERT_TRUE(b().wan().send(frame, 1));
  pair().settle();
  const auto arrived = sequences(pair().arrived_at_b());
  EXPECT_EQ(arrived.size(), 100u);
  EXPECT_TRUE(strictly_ascending(arrived));
  EXPECT_EQ(b().drop_names(), Names{});
}

TEST_F(Workers, OneMessageAtBothWorkersIsDeliveredOnce) {  // W-08
  pair().shake_hands();
  const auto frames = take_data_of_a(50);
  for (const Packet& frame : frames) {
    b().wan().send(frame, 0);
    b().wan().send(frame, 1);
  }
  pair().settle();
  const auto arrived = sequences(pair().arrived_at_b());
  EXPECT_EQ(std::set(arrived.begin(), arrived.end()).size(), 50u);
  EXPECT_EQ(arrived.size(), 50u);
  EXPECT_EQ(b().drop_names(), Names{"data_replay"});
  EXPECT_EQ(b().drops(Drop::data_replay), 50u);
}

TEST_F(Workers, ThePacketThatConfirmsMayArriveElsewhere) {
  from_a.rule = losing(kData);
  a_sends();
  pair().settle();
  inject(b(), from_a.of_type(kData).front(), 1);
  EXPECT_NE(pair().a_at_b->current(), nullptr);
  EXPECT_EQ(pair().arrived_at_b().size(), 1u);
  from_a.rule = {};
  EXPECT_TRUE(b_reaches_a());
}

TEST_F(Workers, TwoSendersNeverUseACounterTwice) {  // D-09
  pair().shake_hands();
  for (int round = 0; round < 50; ++round) {
    a_sends(3, 0);
    a_sends(3, 1);
    pair().step();
  }
  pair().settle();
  std::set<uint64_t> counters;
  for (const Packet& frame : from_a.of_type(kData))
    EXPECT_TRUE(counters.insert(parsed<DataHeader>(frame).counter.host()).second);
  EXPECT_EQ(counters.size(), 301u);
  std::vector<uint32_t> flows[2];  // each queue's packets are a flow: 1..3 of six on the one, 4..6 on the other
  for (const uint32_t n : sequences(pair().arrived_at_b())) flows[(n - 1) / 3 % 2].push_back(n);
  for (const auto& flow : flows) {
    EXPECT_EQ(flow.size(), 150u);
    EXPECT_TRUE(strictly_ascending(flow));
  }
  EXPECT_EQ(a().drop_names(), Names{});
  EXPECT_EQ(b().drop_names(), Names{});
}

TEST_F(Workers, BothWorkersStageAndBothSendWhenTheKeyIsThere) {
  a_sends(10, 0);
  a_sends(10, 1);
  pair().settle();
  EXPECT_EQ(pair().arrived_at_b().size(), 20u);
  EXPECT_EQ(from_a.count(kInitiation), 1u) << "asked for twice, sent once";
  EXPECT_EQ(a().drop_names(), Names{});
}

TEST_F(Workers, BothWorkersDropWhatTheyStagedWhenTheHandshakeIsGivenUp) {
  from_a.rule = lose;
  a_sends(10, 0);
  a_sends(10, 1);
  pass(110s);
  EXPECT_EQ(a().drop_names(), Names{"staged_discarded"});
  EXPECT_EQ(a().drops(Drop::staged_discarded), 20u);
}

TEST_F(Workers, APeerRemovedWhileItsPacketsCross) {
  pair().shake_hands();
  const auto frames = take_data_of_a(20);
  for (const Packet& frame : frames) b().wan().send(frame, 1);
  b().dataplane().workers()[1]->poll_once();  // they are in the ring to worker 0 now
  b().tunnel().remove_peer(pair().a_at_b->public_key);
  pair().settle();
  for (int i = 0; i < 4; ++i) pair().step();
  EXPECT_EQ(pair().arrived_at_b().size(), 0u);
  EXPECT_EQ(b().drop_names(), Names{"handoff_stale"});
  EXPECT_EQ(b().drops(Drop::handoff_stale), 20u);
}

TEST_F(Workers, ASessionThatEndsWhileItsPacketsCross) {
  pair().shake_hands();
  const auto frames = take_data_of_a(20);
  for (const Packet& frame : frames) b().wan().send(frame, 1);
  b().dataplane().workers()[1]->poll_once();
  b().wireguard().drop_keypairs(*pair().a_at_b);
  pair().settle();
  EXPECT_EQ(b().drop_names(), Names{"handoff_stale"});
  EXPECT_EQ(b().drops(Drop::handoff_stale), 20u);
}

TEST_F(Workers, ANewSessionMayHaveAnotherOwner) {
  pair().shake_hands();
  pass(6s);
  from_a.rule = [this](Packet frame) -> std::vector<Packet> {
    if (type_of(frame) != kInitiation) return {std::move(frame)};
    b().wan().send(frame, 1);
    return {};
  };
  const auto late = take_data_of_a(5);  // under the first session
  from_a.rule = [this](Packet frame) -> std::vector<Packet> {
    if (type_of(frame) != kInitiation) return {std::move(frame)};
    b().wan().send(frame, 1);
    return {};
  };
  a().wireguard().start_handshake(*pair().b_at_a);
  pair().settle();
  ASSERT_NE(pair().a_at_b->current(), nullptr);
  EXPECT_EQ(pair().a_at_b->current()->receiving.owner.value, 1);
  EXPECT_TRUE(a_reaches_b()) << "arrives at worker 0, belongs to worker 1";
  for (const Packet& frame : late) b().wan().send(frame, 1);  // arrives at worker 1, belongs to worker 0
  pair().settle();
  EXPECT_EQ(pair().arrived_at_b().size(), 5u);
  EXPECT_EQ(b().drop_names(), Names{});
}

}  // namespace
}  // namespace sluice::test
