// The timers of one peer on a manual clock. The harness does what workers and control do: it writes the stamps by the
// rules of timers.h, calls evaluate at the deadlines it was given and carries the actions out.
#include "control/noise/timers.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/manual_clock.h"
#include "tests/support/seeded_rng.h"

namespace sluice {
namespace {

using test::ManualClock;
using test::SeededRng;

class TimersTest : public testing::Test {
 protected:
  TimersTest() { timers.start(clock.now()); }

  ManualClock clock;
  SeededRng rng;
  Stamps stamps;
  TimerState timers;
  bool has_key = false;
  bool has_endpoint = true;
  int evaluations = 0;

  // What was sent or done, in seconds after the start.
  std::vector<double> initiations, keepalives, give_ups, zeroings, forgotten_sources;
  const MonoTime began = clock.now();
  double seconds() const { return std::chrono::duration<double>(clock.now() - began).count(); }

  // The rules for stamps.
  void note_sent() {
    stamps.last_sent_any = clock.now();
    stamps.unacknowledged_data_received_since = {};
    stamps.need_another_keepalive = false;
  }
  void note_received() {
    stamps.last_received_any = clock.now();
    stamps.unanswered_data_sent_since = {};
  }
  void send_data() {
    note_sent();
    if (stamps.unanswered_data_sent_since.is_never()) stamps.unanswered_data_sent_since = clock.now();
  }
  void receive_data() {
    note_received();
    if (stamps.unacknowledged_data_received_since.is_never())
      stamps.unacknowledged_data_received_since = clock.now();
    else
      stamps.need_another_keepalive = true;
  }
  void receive_keepalive() { note_received(); }
  void send_keepalive() {
    if (has_key && has_endpoint) {
      note_sent();
      keepalives.push_back(seconds());
    } else {
      want_handshake();
    }
  }

  void send_initiation() {
    if (!has_endpoint) return;
    note_sent();
    timers.initiation_sent(clock.now(), rng);
    initiations.push_back(seconds());
  }
  void want_handshake() {
    if (timers.start_handshake(clock.now())) send_initiation();
  }
  void accept_initiation() {  // and answer it
    timers.session_derived(clock.now());
    timers.response_sent(clock.now());
    note_sent();
    note_received();
  }
  void accept_response() {
    timers.session_derived(clock.now());
    timers.handshake_complete();
    has_key = true;
    note_sent();  // the key confirmation
    note_received();
  }
  void establish() {  // a session, all timers at rest
    accept_response();
    evaluate();
  }

  MonoTime evaluate() {
    ++evaluations;
    const TimerActions actions = timers.evaluate(stamps, clock.now(), rng);
    if (actions.clear_unanswered_data) stamps.unanswered_data_sent_since = {};
    if (actions.clear_unacknowledged_data) {
      stamps.unacknowledged_data_received_since = {};
      stamps.need_another_keepalive = false;
    }
    if (actions.give_up) give_ups.push_back(seconds());
    if (actions.zero_keys) {
      zeroings.push_back(seconds());
      has_key = false;
    }
    if (actions.forget_cached_source) forgotten_sources.push_back(seconds());
    if (actions.send_initiation) send_initiation();
    if (actions.send_keepalive) send_keepalive();
    if (!actions.any()) return actions.next_deadline;
    clock.advance(1us);  // what was asked for happens, then control looks again
    return evaluate();
  }
  void run_until(Nanoseconds since_start) {
    while (true) {
      const MonoTime next = evaluate();
      const MonoTime end = began + since_start;
      if (next.is_never() || next > end) {
        if (clock.now() < end) clock.advance(end - clock.now());
        return;
      }
      ASSERT_GT(next, clock.now()) << "a deadline that does not move";
      clock.advance(next - clock.now());
    }
  }
};

constexpr double kTick = 0.001;

TEST_F(TimersTest, PassiveKeepaliveTenSecondsAfterData) {  // T-01
  establish();
  run_until(100ms);
  receive_data();
  run_until(60s);
  ASSERT_EQ(keepalives.size(), 1u);
  EXPECT_NEAR(keepalives[0], 10.1, kTick);
}

TEST_F(TimersTest, SecondPacketAsksForAnotherKeepalive) {  // T-02
  establish();
  receive_data();
  run_until(3s);
  receive_data();
  run_until(60s);
  ASSERT_EQ(keepalives.size(), 2u);
  EXPECT_NEAR(keepalives[0], 10, kTick);
  EXPECT_NEAR(keepalives[1], 20, kTick);
}

TEST_F(TimersTest, AnotherKeepaliveIsNotOwedOnceDataWasSent) {  // T-02
  establish();
  receive_data();
  run_until(3s);
  receive_data();
  run_until(15s);
  send_data();
  receive_keepalive();
  run_until(60s);
  EXPECT_EQ(keepalives.size(), 1u);
}

TEST_F(TimersTest, SteadyDataIsAnsweredEveryTenSeconds) {  // T-02
  establish();
  for (int s = 1; s <= 60; ++s) {
    receive_data();
    run_until(std::chrono::seconds(s));
  }
  ASSERT_GE(keepalives.size(), 5u);
  for (size_t i = 0; i < keepalives.size(); ++i) EXPECT_NEAR(keepalives[i], 10.0 * double(i + 1), 0.01);
}

TEST_F(TimersTest, AnyPacketSentInTimeSparesTheKeepalive) {
  establish();
  receive_data();
  run_until(3s);
  receive_data();
  run_until(9s);
  send_data();
  run_until(9500ms);
  receive_keepalive();
  run_until(60s);
  EXPECT_TRUE(keepalives.empty());
}

TEST_F(TimersTest, KeepalivesAreNotAnswered) {  // T-03
  establish();
  run_until(1s);
  receive_keepalive();
  run_until(60s);
  EXPECT_TRUE(keepalives.empty());
  EXPECT_TRUE(initiations.empty());
}

TEST_F(TimersTest, NewHandshakeAfter15SecondsOfSilence) {  // T-04
  establish();
  for (int s = 1; s <= 15; ++s) {
    run_until(std::chrono::seconds(s));
    send_data();
  }
  run_until(17s);
  ASSERT_EQ(initiations.size(), 1u);
  EXPECT_GE(initiations[0], 16.0);
  EXPECT_LE(initiations[0], 16.4);
  EXPECT_EQ(forgotten_sources.size(), 1u);
}

TEST_F(TimersTest, SilenceIsCountedAnewAfterEachAttempt) {  // T-04
  establish();
  send_data();
  run_until(16s);
  ASSERT_EQ(initiations.size(), 1u);
  EXPECT_TRUE(stamps.unanswered_data_sent_since.is_never());
  accept_response();
  run_until(17s);
  send_data();
  run_until(31900ms);
  EXPECT_EQ(initiations.size(), 1u);
  run_until(33s);
  EXPECT_EQ(initiations.size(), 2u);
}

TEST_F(TimersTest, AKeepaliveEndsTheSilence) {  // T-05
  establish();
  send_data();
  run_until(14s);
  receive_keepalive();
  run_until(60s);
  EXPECT_TRUE(initiations.empty());
}

TEST_F(TimersTest, KeepalivesSentNeedNoAnswer) {  // T-06
  timers.set_persistent_keepalive(5s, stamps, clock.now());
  establish();
  run_until(100s);
  EXPECT_GE(keepalives.size(), 19u);
  EXPECT_TRUE(initiations.empty());
}

TEST_F(TimersTest, RetriesEveryFiveSecondsWithJitter) {  // I-03
  want_handshake();
  run_until(90s);
  ASSERT_GE(initiations.size(), 17u);
  double shortest = 9, longest = 0;
  for (size_t i = 1; i < initiations.size(); ++i) {
    const double gap = initiations[i] - initiations[i - 1];
    EXPECT_GE(gap, 5.0);
    EXPECT_LE(gap, 5.334);
    shortest = std::min(shortest, gap);
    longest = std::max(longest, gap);
  }
  EXPECT_LT(shortest, 5.1);
  EXPECT_GT(longest, 5.23);
  EXPECT_EQ(forgotten_sources.size(), initiations.size() - 1);
}

TEST_F(TimersTest, GivesUpAfterTwentyInitiations) {  // I-04
  want_handshake();
  run_until(1000s);
  ASSERT_EQ(initiations.size(), 20u);
  EXPECT_GE(initiations.back(), 95);
  EXPECT_LE(initiations.back(), 102);
  ASSERT_EQ(give_ups.size(), 1u);
  EXPECT_GE(give_ups[0], 100);
  EXPECT_LE(give_ups[0], 107);
  ASSERT_EQ(zeroings.size(), 1u);
  EXPECT_NEAR(zeroings[0], give_ups[0] + 540, kTick);
  want_handshake();  // new traffic
  EXPECT_EQ(initiations.size(), 21u);
  run_until(1200s);
  EXPECT_EQ(initiations.size(), 40u);
}

TEST_F(TimersTest, GivingUpDoesNotProlongTheKeys) {  // I-04, T-12
  establish();
  run_until(300s);
  want_handshake();
  run_until(1000s);
  ASSERT_EQ(give_ups.size(), 1u);
  ASSERT_EQ(zeroings.size(), 1u);
  EXPECT_NEAR(zeroings[0], 540, kTick);
}

TEST_F(TimersTest, PersistentKeepaliveStartsOverAfterGivingUp) {  // I-04
  timers.set_persistent_keepalive(25s, stamps, clock.now());
  run_until(200s);
  ASSERT_EQ(give_ups.size(), 1u);
  ASSERT_GT(initiations.size(), 20u);
  EXPECT_NEAR(initiations[20], initiations[19] + 25, 0.01);
}

TEST_F(TimersTest, TrafficKeepsRetryingForEver) {  // I-05
  for (int s = 0; s < 600; s += 3) {
    want_handshake();
    run_until(std::chrono::seconds(s));
  }
  EXPECT_TRUE(give_ups.empty());
  EXPECT_GE(initiations.size(), 110u);
  for (size_t i = 1; i < initiations.size(); ++i) EXPECT_GE(initiations[i] - initiations[i - 1], 5.0);
}

TEST_F(TimersTest, CompletedHandshakeIsNotRetried) {
  want_handshake();
  run_until(1s);
  accept_response();
  run_until(60s);
  EXPECT_EQ(initiations.size(), 1u);
  EXPECT_EQ(timers.attempts(), 0u);
}

TEST_F(TimersTest, NoInitiationWithin5SecondsOfAResponse) {  // I-19
  accept_initiation();
  run_until(1s);
  want_handshake();
  run_until(4999ms);
  want_handshake();
  EXPECT_TRUE(initiations.empty());
  run_until(5s);
  want_handshake();
  EXPECT_EQ(initiations.size(), 1u);
}

TEST_F(TimersTest, CrossedInitiationsKeepTheRetry) {  // I-13
  want_handshake();
  run_until(4s);
  accept_initiation();  // the peer's crossed ours: both responses will be refused
  run_until(8900ms);
  EXPECT_EQ(initiations.size(), 1u);
  run_until(9500ms);
  EXPECT_EQ(initiations.size(), 2u);
}

TEST_F(TimersTest, NewPrivateKeyMayStartAtOnce) {  // U-20
  want_handshake();
  run_until(1s);
  timers.private_key_changed();
  want_handshake();
  EXPECT_EQ(initiations.size(), 2u);
}

TEST_F(TimersTest, ANewWayMayBeTriedAtOnce) {
  want_handshake();
  run_until(1s);
  want_handshake();
  EXPECT_EQ(initiations.size(), 1u);
  timers.way_opened();
  want_handshake();
  EXPECT_EQ(initiations.size(), 2u);
}

TEST_F(TimersTest, LastMinuteHandshakeOncePerSession) {  // T-10
  establish();
  run_until(166s);
  EXPECT_TRUE(timers.start_last_minute_handshake(clock.now()));
  run_until(172s);
  EXPECT_FALSE(timers.start_last_minute_handshake(clock.now()));
  timers.handshake_complete();
  EXPECT_TRUE(timers.start_last_minute_handshake(clock.now()));
}

TEST_F(TimersTest, KeysAreZeroed540SecondsAfterTheLastSession) {  // T-12
  establish();
  run_until(100s);
  accept_initiation();
  run_until(639s);
  EXPECT_TRUE(zeroings.empty());
  run_until(2000s);
  ASSERT_EQ(zeroings.size(), 1u);
  EXPECT_NEAR(zeroings[0], 640, kTick);
  EXPECT_TRUE(evaluate().is_never());  // at rest for good
}

TEST_F(TimersTest, PersistentKeepaliveAfterTheLastPacketEitherWay) {  // T-13
  timers.set_persistent_keepalive(25s, stamps, clock.now());
  establish();
  keepalives.clear();  // the one for switching it on
  run_until(20s);
  receive_keepalive();
  run_until(40s);
  send_data();
  receive_keepalive();
  EXPECT_TRUE(keepalives.empty());
  run_until(64900ms);
  EXPECT_TRUE(keepalives.empty());
  run_until(120s);
  ASSERT_EQ(keepalives.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(keepalives[i], 65.0 + 25.0 * double(i), 0.01);
}

TEST_F(TimersTest, PersistentKeepaliveOfOneSecondHoldsAMapping) {  // T-13
  timers.set_persistent_keepalive(1s, stamps, clock.now());
  establish();
  run_until(60s);
  ASSERT_GE(keepalives.size(), 59u);
  for (size_t i = 1; i < keepalives.size(); ++i) EXPECT_NEAR(keepalives[i] - keepalives[i - 1], 1.0, 0.01);
}

TEST_F(TimersTest, PersistentKeepaliveSwitchedOnActsAtOnce) {  // T-14, I-02
  timers.set_persistent_keepalive(25s, stamps, clock.now());
  run_until(0s);
  EXPECT_EQ(initiations.size(), 1u);  // no key yet
  accept_response();
  run_until(10s);
  timers.set_persistent_keepalive(0s, stamps, clock.now());
  run_until(12s);
  timers.set_persistent_keepalive(25s, stamps, clock.now());
  run_until(12s);
  EXPECT_EQ(keepalives.size(), 1u);
}

TEST_F(TimersTest, PersistentKeepaliveSwitchedOffStops) {  // T-14
  timers.set_persistent_keepalive(10s, stamps, clock.now());
  establish();
  run_until(35s);
  const size_t before = keepalives.size();
  timers.set_persistent_keepalive(0s, stamps, clock.now());
  run_until(200s);
  EXPECT_EQ(keepalives.size(), before);
}

TEST_F(TimersTest, PersistentKeepaliveChangedLeavesThePendingOne) {  // T-14
  timers.set_persistent_keepalive(25s, stamps, clock.now());
  establish();
  keepalives.clear();  // the one for switching it on
  run_until(10s);
  timers.set_persistent_keepalive(5s, stamps, clock.now());
  run_until(24900ms);
  EXPECT_TRUE(keepalives.empty());  // no immediate one
  run_until(31s);
  ASSERT_EQ(keepalives.size(), 2u);
  EXPECT_NEAR(keepalives[0], 25, 0.01);
  EXPECT_NEAR(keepalives[1], 30, 0.01);
}

TEST_F(TimersTest, PersistentKeepaliveWaitsForAnEndpoint) {  // I-14
  has_endpoint = false;
  timers.set_persistent_keepalive(25s, stamps, clock.now());
  run_until(90s);
  EXPECT_TRUE(initiations.empty());
  has_endpoint = true;
  run_until(101s);
  EXPECT_EQ(initiations.size(), 1u);
}

TEST_F(TimersTest, NothingIsDueWhileTheTunnelIsDown) {  // I-15, I-16, I-18
  timers.set_persistent_keepalive(25s, stamps, clock.now());
  want_handshake();
  send_data();
  receive_data();
  evaluate();
  timers.stop();
  initiations.clear();
  keepalives.clear();
  EXPECT_TRUE(evaluate().is_never());
  run_until(600s);
  EXPECT_TRUE(initiations.empty() && keepalives.empty() && give_ups.empty() && zeroings.empty());
  has_key = false;
  stamps = {};
  timers.start(clock.now());
  run_until(601s);
  ASSERT_EQ(initiations.size(), 1u);
  EXPECT_NEAR(initiations[0], 600, kTick);
}

TEST_F(TimersTest, DeadlineIsSoonEnoughForWhatWorkersMayArm) {
  establish();
  EXPECT_EQ(evaluate(), clock.now() + 10s);
  clock.advance(1ms);
  receive_data();  // nobody tells control
  clock.advance(10s - 1ms);
  EXPECT_EQ(evaluate(), clock.now() + 1ms);
  timers.set_persistent_keepalive(2s, stamps, clock.now());
  evaluate();
  EXPECT_LE(evaluate(), clock.now() + 2s);
}

TEST_F(TimersTest, RestingPeersCostNothing) {
  EXPECT_TRUE(evaluate().is_never());
  establish();
  evaluations = 0;
  run_until(1000s);
  EXPECT_LE(evaluations, 60);  // every 10 s while there are keys, never again after
}

}  // namespace
}  // namespace sluice
