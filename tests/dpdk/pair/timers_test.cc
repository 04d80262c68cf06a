// What happens by time between two gateways: keepalives, retries, rekeys and expiry. a is the initiator.
#include "tests/dpdk/pair/pair_fixture.h"

namespace sluice::test {
namespace {

using enum MessageType;

class Timers : public PairTest {
 protected:
  void SetUp() override {
    start();
    pair().shake_hands();
    born_ = pair().clock.now();
    forget_frames();
  }
  Nanoseconds age() { return pair().clock.now() - born_; }
  void jump_to_age(Nanoseconds wanted) {
    pair().clock.advance(wanted - age());
    pair().settle();
  }
  size_t keepalives(const Direction& direction) {
    size_t n = 0;
    for (const Packet& frame : direction.of_type(kData)) n += message_in(frame).size() == kDataOverhead;
    return n;
  }
  void set_keepalive(uint16_t seconds) {
    a().tunnel().set_persistent_keepalive(*pair().b_at_a, seconds);
    a().tunnel().apply_peer(*pair().b_at_a);
    pair().settle();
  }
  MonoTime born_;
};

TEST_F(Timers, AKeepaliveAnswersDataAfterTenSeconds) {  // T-01, T-03
  const auto after = time_until(from_b, kData, 12s);
  ASSERT_TRUE(after);
  EXPECT_GE(*after, 9800ms);
  EXPECT_LE(*after, 10600ms);
  pass(60s);
  EXPECT_EQ(keepalives(from_b), 1u);
  EXPECT_EQ(from_b.frames.size(), 1u);
  EXPECT_EQ(from_a.frames.size(), 0u) << "a keepalive is not answered, and nothing is owed";
}

TEST_F(Timers, DataWithinTheTenSecondsIsAnsweredTenSecondsLater) {  // T-02
  pass(3s);
  EXPECT_TRUE(a_reaches_b());
  forget_frames();
  const auto first = time_until(from_b, kData, 12s), second = time_until(from_b, kData, 12s);
  ASSERT_TRUE(first && second);
  EXPECT_NEAR(std::chrono::duration<double>(*first).count(), 7.0, 0.3);
  EXPECT_NEAR(std::chrono::duration<double>(*second).count(), 10.0, 0.3);
  pass(60s);
  EXPECT_EQ(keepalives(from_b), 2u);
}

TEST_F(Timers, AnythingSentIsAnAnswer) {
  pass(8s);
  EXPECT_TRUE(b_reaches_a());
  forget_frames();
  pass(5s);
  EXPECT_EQ(from_b.frames.size(), 0u);
}

TEST_F(Timers, ANewHandshakeAfterFifteenSecondsOfSilence) {  // T-04
  pass(20s);
  from_b.rule = lose;
  a_sends();
  const auto began = pair().clock.now();
  for (int i = 0; i < 3; ++i) {
    pass(4s);
    a_sends();
  }
  EXPECT_EQ(from_a.count(kInitiation), 0u);
  ASSERT_TRUE(time_until(from_a, kInitiation, 5s));
  EXPECT_GE(pair().clock.now() - began, 15s);
  EXPECT_LE(pair().clock.now() - began, 15400ms);
}

TEST_F(Timers, AKeepaliveEndsTheSilence) {  // T-05
  pass(20s);
  from_b.rule = lose;
  a_sends();
  pass(9s);
  EXPECT_EQ(from_b.count(kInitiation), 0u);
  from_b.rule = {};
  pass(5s);  // b's passive keepalive arrives
  forget_frames();
  pass(20s);
  EXPECT_EQ(from_a.count(kInitiation), 0u);
}

TEST_F(Timers, KeepalivesDemandNoAnswer) {  // T-06
  pass(20s);
  forget_frames();
  for (int i = 0; i < 15; ++i) {
    a().wireguard().request_keepalive(*pair().b_at_a);
    pass(5s);
  }
  EXPECT_EQ(keepalives(from_a), 15u);
  EXPECT_EQ(from_a.count(kInitiation), 0u);
  EXPECT_EQ(from_b.frames.size(), 0u);
}

TEST_F(Timers, TheInitiatorRekeysWhenItSendsAfterTwoMinutes) {  // T-07, T-08
  pass(20s);
  jump_to_age(119s);
  EXPECT_TRUE(a_reaches_b());
  EXPECT_EQ(from_a.count(kInitiation), 0u);
  const uint32_t index = pair().b_at_a->current()->sending->remote_index;
  from_a.rule = losing(kInitiation);
  jump_to_age(121s);
  EXPECT_TRUE(a_reaches_b());
  EXPECT_EQ(parsed<DataHeader>(from_a.of_type(kData).back()).receiver_index.host(), index);
  EXPECT_EQ(from_a.count(kInitiation), 1u);
  EXPECT_TRUE(a_reaches_b());
  EXPECT_EQ(from_a.count(kInitiation), 1u) << "one, not one for each packet";
}

TEST_F(Timers, TheResponderNeverRekeysByAge) {  // T-09
  from_a.rule = losing(kInitiation);
  for (int second : {125, 130, 140, 150, 164, 170, 178}) {
    jump_to_age(std::chrono::seconds(second));
    EXPECT_TRUE(b_reaches_a());
    EXPECT_TRUE(a_reaches_b());
  }
  EXPECT_EQ(from_b.count(kInitiation), 0u);
}

TEST_F(Timers, TheLastMinuteIsNoticedByAReceivingInitiator) {  // T-10
  pass(20s);
  forget_frames();
  from_a.rule = losing(kInitiation);
  jump_to_age(164s);
  EXPECT_TRUE(b_reaches_a());
  EXPECT_EQ(from_a.count(kInitiation), 0u);
  jump_to_age(166s);
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(b_reaches_a());
    pass(500ms);
  }
  EXPECT_EQ(from_a.count(kInitiation), 1u) << "once, not with each packet";
}

TEST_F(Timers, AKeyEndsAfterThreeMinutes) {  // T-11
  pass(20s);
  from_a.rule = losing(kInitiation);
  jump_to_age(176s);
  EXPECT_TRUE(a_reaches_b());
  EXPECT_TRUE(b_reaches_a());
  from_b.rule = lose;
  b_sends();
  pair().settle();
  const Packet late = from_b.of_type(kData).back();
  jump_to_age(181s);
  forget_frames();
  inject(a(), late);
  EXPECT_EQ(a().drop_names(), Names{"data_key_expired"});
  pass(2s);
  forget_frames();
  a_sends();
  pass(6s);
  EXPECT_EQ(from_a.count(kData), 0u) << "staged instead";
  EXPECT_GE(from_a.count(kInitiation), 1u);
  from_a.rule = from_b.rule = {};
  pass(12s);  // b misses an answer, too, and may start at the same moment
  EXPECT_GE(pair().arrived_at_b().size(), 1u);
}

TEST_F(Timers, KeysAreWipedAfterThreeTimesTheirLife) {  // T-12
  pass(20s);
  from_a.rule = lose;
  a_sends();
  pair().settle();
  const Packet old = from_a.of_type(kData).back();
  from_a.rule = {};
  pass(30s);  // a's handshake after the silence
  born_ = pair().clock.now() - 15s;
  pass(510s, 500ms);
  EXPECT_NE(pair().b_at_a->current(), nullptr);
  EXPECT_NE(pair().a_at_b->current(), nullptr);
  pass(40s, 500ms);
  for (const PeerControl* peer : {pair().b_at_a, pair().a_at_b}) {
    EXPECT_EQ(peer->contact->current, nullptr);
    EXPECT_EQ(peer->contact->previous, nullptr);
    EXPECT_EQ(peer->contact->next, nullptr);
    EXPECT_EQ(peer->contact->sent, std::nullopt);
    EXPECT_TRUE(peer->contact->deadline.is_never()) << "and nothing is due";
  }
  inject(b(), old);
  EXPECT_EQ(b().drop_names(), Names{"data_unknown_index"});
  EXPECT_TRUE(a_reaches_b()) << "the configuration is intact";
}

TEST_F(Timers, PersistentKeepalivesComeAfterTheLastPacketEitherWay) {  // T-13, T-14
  pass(20s);
  forget_frames();
  set_keepalive(20);
  EXPECT_EQ(keepalives(from_a), 1u) << "at once when switched on";
  pass(19500ms);
  EXPECT_EQ(keepalives(from_a), 1u);
  pass(1s);
  EXPECT_EQ(keepalives(from_a), 2u);
  pass(9500ms);
  b().wireguard().request_keepalive(*pair().a_at_b);  // the other way counts too
  pass(19500ms);
  EXPECT_EQ(keepalives(from_a), 2u);
  pass(1s);
  EXPECT_EQ(keepalives(from_a), 3u);
  EXPECT_EQ(from_a.count(kInitiation), 0u);
}

TEST_F(Timers, PersistentKeepaliveChanged) {  // T-14
  pass(20s);
  set_keepalive(20);
  forget_frames();
  set_keepalive(10);
  EXPECT_EQ(keepalives(from_a), 0u) << "from one interval to another: none at once";
  set_keepalive(0);
  pass(60s);
  EXPECT_LE(keepalives(from_a), 1u) << "at most the one that was pending";
  forget_frames();
  pass(60s);
  EXPECT_EQ(from_a.frames.size(), 0u);
}

TEST_F(Timers, PersistentKeepaliveKeepsASessionGoing) {  // T-13
  set_keepalive(25);
  pass(600s, 100ms);
  EXPECT_EQ(from_a.count(kInitiation), from_b.count(kResponse));
  EXPECT_GE(from_a.count(kInitiation), 4u);
  EXPECT_NE(pair().a_at_b->current(), nullptr);
  EXPECT_TRUE(b_reaches_a());
  EXPECT_EQ(a().drop_names(), Names{});
  EXPECT_EQ(b().drop_names(), Names{});
}

TEST_F(Timers, ASuspendedSystemWakesUpWithExpiredKeys) {  // T-17
  from_b.rule = lose;
  b_sends();
  pair().settle();
  const Packet late = from_b.of_type(kData).back();
  from_b.rule = {};
  forget_frames();
  pair().clock.advance(200s);
  inject(a(), late);
  EXPECT_EQ(a().drops(Drop::data_key_expired), 1u);
  forget_frames();
  a_sends();
  pass(6s);
  EXPECT_GE(from_a.count(kInitiation), 1u);
  EXPECT_GE(pair().arrived_at_b().size(), 1u);
}

TEST_F(Timers, ManyMessagesUnderOneKeyAskForANewOne) {  // T-15
  pair().a_at_b->current()->sending->counter.store(kRekeyAfterMessages + 1);
  EXPECT_TRUE(b_reaches_a());
  EXPECT_EQ(from_b.count(kInitiation), 0u) << "its response was less than five seconds ago";
  pass(6s);
  EXPECT_TRUE(b_reaches_a());
  EXPECT_EQ(from_b.count(kInitiation), 1u) << "either side";
}

TEST_F(Timers, ACounterThatIsUsedUpIsNeverExceeded) {  // T-16
  pass(6s);
  pair().b_at_a->current()->sending->counter.store(kRejectAfterMessages - 2);
  a_sends(5);
  pair().settle();
  EXPECT_EQ(sequences(pair().arrived_at_b()).size(), 5u) << "two under the old key, the others under a new one";
  for (const Packet& frame : from_a.of_type(kData))
    EXPECT_LT(parsed<DataHeader>(frame).counter.host(), kRejectAfterMessages);
  EXPECT_EQ(from_a.count(kInitiation), 1u);
}

}  // namespace
}  // namespace sluice::test
