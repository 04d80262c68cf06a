// Two workers and a WAN port whose device steers: the gateway chooses a session's worker, and nothing has to cross.
#include <map>

#include "tests/dpdk/pair/pair_fixture.h"
#include "tests/support/steering_port.h"

namespace sluice::test {
namespace {

using enum MessageType;
using State = Steering::State;

class SteeredPair : public PairTest {
 protected:
  void start(bool steers) {
    GatewayPair::Options options;
    options.a.workers = options.b.workers = 2;
    options.a.steers = options.b.steers = steers;
    PairTest::start(options);
    from_a.rule = arriving_at(b());
    from_b.rule = arriving_at(a());
  }
  SteeringPort& wan_port(TestGateway& gateway) { return dynamic_cast<SteeringPort&>(*gateway.dataplane().ports()[0]); }
  static uint64_t handed_off(TestGateway& gateway) {
    uint64_t sum = 0;
    for (const auto& worker : gateway.dataplane().workers()) sum += worker->stats().handed_off.load();
    return sum;
  }
  static WorkerId owner(PeerControl* peer) { return peer->current()->receiving.owner; }

  uint16_t rss_queue = 1;  // where the senders' addresses and ports lead, as long as those are the same

 private:
  // A wire that ends at a NIC with two queues.
  WireRule arriving_at(TestGateway& gateway) {
    return [&](Packet frame) -> std::vector<Packet> {
      std::optional<uint16_t> queue;
      if (const auto* nic = dynamic_cast<SteeringPort*>(gateway.dataplane().ports()[0]); nic && type_of(frame) == kData)
        queue = nic->arrival_queue(parsed<DataHeader>(frame).receiver_index.host());
      EXPECT_TRUE(gateway.wan().send(frame, queue.value_or(rss_queue)));
      return {};
    };
  }
};

TEST_F(SteeredPair, TheIndexNamesTheOwnerWhereverTheHandshakeArrives) {
  for (uint16_t queue = 0; queue < 2; ++queue) {
    rss_queue = queue;
    start(true);
    pair().shake_hands();
    for (PeerControl* peer : {pair().a_at_b, pair().b_at_a}) {
      EXPECT_EQ(owner(peer), WorkerId{0}) << "the first peer's";
      EXPECT_EQ(peer->current()->receiving.local_index & 1, 0u);
      EXPECT_EQ(peer->home, WorkerId{0});
    }
  }
}

TEST_F(SteeredPair, NothingCrossesWhereverTheSenderSendsFrom) {
  start(true);
  pair().shake_hands();
  for (uint16_t queue = 0; queue < 2; ++queue) {  // the sender has moved
    rss_queue = queue;
    a_sends(50);
    b_sends(50);
    pair().settle();
  }
  const auto at_b = sequences(pair().arrived_at_b());
  EXPECT_EQ(at_b.size(), 100u);
  EXPECT_TRUE(strictly_ascending(at_b));
  EXPECT_EQ(pair().arrived_at_a().size(), 100u);
  EXPECT_EQ(handed_off(a()) + handed_off(b()), 0u);
  EXPECT_EQ(b().drop_names(), Names{});
}

TEST_F(SteeredPair, WithoutItWhatArrivesElsewhereCrosses) {
  start(false);
  EXPECT_EQ(b().dataplane().ports()[0]->steering().state, State::kRefused);
  pair().shake_hands();
  EXPECT_EQ(owner(pair().a_at_b), WorkerId{1}) << "it got the handshake";
  EXPECT_EQ(handed_off(b()), 0u);
  rss_queue = 0;  // the sender has moved
  a_sends(50);
  pair().settle();
  EXPECT_EQ(pair().arrived_at_b().size(), 50u);
  EXPECT_EQ(handed_off(b()), 50u);
}

TEST_F(SteeredPair, APeerKeepsItsWorkerOverRekeys) {
  start(true);
  pair().shake_hands();
  const uint32_t first = pair().a_at_b->current()->receiving.local_index;
  pass(6s);
  rss_queue = 0;
  a().wireguard().start_handshake(*pair().b_at_a);
  pair().settle();
  ASSERT_TRUE(a_reaches_b());
  EXPECT_NE(pair().a_at_b->current()->receiving.local_index, first);
  EXPECT_EQ(owner(pair().a_at_b), WorkerId{0});
  EXPECT_EQ(owner(pair().b_at_a), WorkerId{0});
}

TEST_F(SteeredPair, PeersTakeTurns) {
  start(true);
  std::map<WorkerId, unsigned> peers;
  for (uint8_t i = 1; i < 20; ++i) {
    PublicKey key;
    key.bytes.fill(std::byte{i});
    ++peers[b().dataplane().worker_for(b().tunnel().add_peer(key)->shared->id)];
  }
  EXPECT_EQ(peers[WorkerId{0}], 9u);  // and the one that was there
  EXPECT_EQ(peers[WorkerId{1}], 10u);
}

TEST_F(SteeredPair, TheDeviceIsToldOfTheListenPorts) {
  start(true);
  EXPECT_EQ(wan_port(b()).listen_ports, (std::vector<uint16_t>{51820}));
  ASSERT_TRUE(b().tunnel().set_listen_port(51821));
  pair().step();
  EXPECT_EQ(wan_port(b()).listen_ports, (std::vector<uint16_t>{51821}));
  b().tunnel().set_up(false);
  pair().step();
  EXPECT_TRUE(wan_port(b()).listen_ports.empty());
}

TEST_F(SteeredPair, ADeviceThatStopsSteeringLosesNothing) {
  start(true);
  pair().shake_hands();
  wan_port(b()).answer = State::kRefused;  // rules for a further listen port did not fit
  a_sends(20);
  pair().settle();
  EXPECT_EQ(pair().arrived_at_b().size(), 20u);
  EXPECT_EQ(handed_off(b()), 20u) << "by RSS at worker 1, the session is worker 0's";
  pass(6s);
  a().wireguard().start_handshake(*pair().b_at_a);
  pair().settle();
  ASSERT_TRUE(a_reaches_b());
  EXPECT_EQ(owner(pair().a_at_b), WorkerId{1}) << "the next session goes by RSS as well";
  EXPECT_EQ(b().drop_names(), Names{});
}

}  // namespace
}  // namespace sluice::test
