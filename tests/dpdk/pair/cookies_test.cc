// Gateways under load: cookies given and taken.
#include "dataplane/crypto/primitives.h"
#include "tests/dpdk/pair/pair_fixture.h"

namespace sluice::test {
namespace {

using enum MessageType;

constexpr WireBytes<16> kNoMac{};

class Cookies : public PairTest {
 protected:
  // b is under load as soon as this many handshake messages wait at once.
  void start_with_load_of(size_t at_a, size_t at_b) {
    GatewayPair::Options options;
    options.a.load_threshold = at_a;
    options.b.load_threshold = at_b;
    start(options);
  }
  static constexpr size_t kNever = 1'000'000;
  Packet message_of(const Packet& frame) { return {message_in(frame).begin(), message_in(frame).end()}; }
  // a's next initiation, taken off the wire.
  Packet take_initiation_of_a() {
    const WireRule before = from_a.rule;
    from_a.rule = lose;
    pass(6s, 10ms);
    a().wireguard().start_handshake(*pair().b_at_a);
    pair().settle();
    from_a.rule = before;
    return from_a.of_type(kInitiation).back();
  }
};

TEST_F(Cookies, AnInitiationUnderLoadGetsOneAndTheRetryCarriesIt) {  // C-01, C-03, C-12
  start_with_load_of(kNever, 1);
  a_sends();
  pair().settle();
  ASSERT_EQ(from_b.frames.size(), 1u);
  const auto first = parsed<InitiationMessage>(from_a.of_type(kInitiation).front());
  const auto reply = parsed<CookieReplyMessage>(from_b.frames.front());
  EXPECT_EQ(message_in(from_b.frames.front()).size(), 64u);
  EXPECT_EQ(type_of(from_b.frames.front()), kCookieReply);
  EXPECT_EQ(reply.receiver_index.host(), first.sender_index.host());
  EXPECT_EQ(destination_of(from_b.frames.front()), wan_of(a()));
  EXPECT_EQ(b().drop_names(), Names{"handshake_under_load"});
  EXPECT_EQ(pair().a_at_b->at.remote.is_none(), true) << "nothing is learnt from it";

  pass(4900ms, 10ms);
  EXPECT_EQ(from_a.count(kInitiation), 1u) << "no retry because of a cookie";
  ASSERT_TRUE(time_until(from_a, kInitiation, 500ms));
  const auto retry = parsed<InitiationMessage>(from_a.of_type(kInitiation).back());
  EXPECT_NE(retry.mac2, kNoMac);
  EXPECT_NE(retry.ephemeral, first.ephemeral);
  EXPECT_EQ(from_b.count(kResponse), 1u);
  EXPECT_EQ(pair().arrived_at_b().size(), 1u);
  EXPECT_EQ(a().drop_names(), Names{});
}

TEST_F(Cookies, AResponseUnderLoadGetsOneToo) {  // C-02, C-13
  start_with_load_of(1, kNever);
  a_sends();
  pair().settle();
  EXPECT_EQ(from_a.count(kCookieReply), 1u);
  EXPECT_EQ(a().drop_names(), Names{"handshake_under_load"});
  EXPECT_EQ(from_a.count(kData), 0u);
  ASSERT_TRUE(time_until(from_b, kResponse, 6s));
  EXPECT_NE(parsed<ResponseMessage>(from_b.of_type(kResponse).back()).mac2, kNoMac);
  EXPECT_EQ(pair().arrived_at_b().size(), 1u);
  EXPECT_EQ(b().drop_names(), Names{});
}

TEST_F(Cookies, ACookieIsGoodForItsSourceOnly) {  // C-04
  start_with_load_of(kNever, 1);
  a_sends();
  pair().settle();
  const Packet retry = message_of(take_initiation_of_a());
  forget_frames();
  const Endpoint port{a().site().wan(Family::kIpv4), 999, 0};
  inject(b(), frame_around(retry, b().site(), port));
  EXPECT_EQ(from_b.count(kCookieReply), 1u);
  EXPECT_EQ(from_b.count(kResponse), 0u);
  EXPECT_EQ(destination_of(from_b.frames.back()), port);
  inject(b(), frame_around(retry, b().site(), wan_of(a())));
  EXPECT_EQ(from_b.count(kResponse), 1u);
}

TEST_F(Cookies, AWrongMac1IsSilentUnderLoadToo) {  // C-05
  start_with_load_of(kNever, 1);
  Packet message = message_of(take_initiation_of_a());
  message[116] ^= std::byte{1};
  forget_frames();
  inject(b(), frame_around(message, b().site(), wan_of(a())));
  EXPECT_EQ(from_b.frames.size(), 0u);
  EXPECT_EQ(b().drop_names(), Names{"handshake_mac1"});
}

TEST_F(Cookies, LoadLastsForASecondAfterTheLastOverload) {  // C-06, H-14
  start_with_load_of(kNever, 3);
  Packet message = message_of(take_initiation_of_a());
  message[132] = std::byte{7};  // a mac2 of nobody's
  const Packet frame = frame_around(message, b().site(), wan_of(a()));
  forget_frames();
  for (int i = 0; i < 3; ++i) b().wan().send(frame);
  pair().settle();
  EXPECT_EQ(from_b.count(kCookieReply), 3u);
  pass(900ms, 10ms);
  inject(b(), frame);
  EXPECT_EQ(from_b.count(kCookieReply), 4u);
  pass(200ms, 10ms);
  inject(b(), frame);
  EXPECT_EQ(from_b.count(kCookieReply), 4u);
  EXPECT_EQ(from_b.count(kResponse), 1u) << "without load mac2 is not looked at";
}

TEST_F(Cookies, ASourceThatProvedItselfHasABucket) {  // C-07
  start_with_load_of(kNever, 1);
  a_sends();
  pair().settle();
  const Packet retry = take_initiation_of_a();
  forget_frames();
  const uint64_t asked_before = b().drops(Drop::handshake_under_load);
  for (int i = 0; i < 15; ++i) b().wan().send(retry);
  pair().settle();
  // Of the five that were let in one was new; the others are its copies.
  EXPECT_EQ(from_b.count(kResponse), 1u);
  EXPECT_EQ(b().drops(Drop::initiation_replay), 4u);
  EXPECT_EQ(b().drops(Drop::handshake_rate_limited), 10u);
  EXPECT_EQ(b().drops(Drop::handshake_under_load), asked_before) << "no cookies to those either";
  for (int i = 0; i < 20; ++i) {  // a second, with two each 50 ms
    pass(50ms, 50ms);
    for (int n = 0; n < 2; ++n) b().wan().send(retry);
    pair().settle();
  }
  EXPECT_EQ(b().drops(Drop::initiation_replay), 24u) << "twenty a second";
}

TEST_F(Cookies, AForgedCookieIsNotTaken) {  // C-14
  start_with_load_of(kNever, 1);
  from_b.rule = lose;
  a_sends();
  pair().settle();
  const Packet genuine = message_of(from_b.frames.front());
  Packet forged = genuine;
  forged[40] ^= std::byte{1};
  inject(a(), frame_around(forged, a().site(), wan_of(b())));
  EXPECT_EQ(a().drop_names(), Names{"cookie_authentication"});
  forged = genuine;
  forged[4] ^= std::byte{1};
  inject(a(), frame_around(forged, a().site(), wan_of(b())));
  EXPECT_EQ(a().drop_names(), (Names{"cookie_unknown_index", "cookie_authentication"}));
  ASSERT_TRUE(time_until(from_a, kInitiation, 6s));
  EXPECT_EQ(parsed<InitiationMessage>(from_a.of_type(kInitiation).back()).mac2, kNoMac);
}

TEST_F(Cookies, OneCookieIsTakenForEachMessageAndMovesNothing) {  // C-16, R-05
  start_with_load_of(kNever, 1);
  from_b.rule = [this](Packet frame) {
    const ConstBytes message = message_in(frame);
    const Endpoint from{*parse_address("198.51.100.88"), 7, 0};
    return std::vector(2, frame_around(Packet(message.begin(), message.end()), a().site(), from));
  };
  a_sends();
  pair().settle();
  EXPECT_EQ(a().drop_names(), Names{"cookie_unexpected"});
  EXPECT_EQ(pair().b_at_a->at.remote, wan_of(b()));
  ASSERT_TRUE(time_until(from_a, kInitiation, 6s));
  EXPECT_NE(parsed<InitiationMessage>(from_a.of_type(kInitiation).back()).mac2, kNoMac);
}

TEST_F(Cookies, ACookieIsUsedFor115Seconds) {  // C-15
  start_with_load_of(kNever, 1);
  a_sends();
  pair().settle();
  from_a.rule = lose;
  pass(114s, 20ms);
  EXPECT_NE(parsed<InitiationMessage>(from_a.of_type(kInitiation).back()).mac2, kNoMac);
  pass(6s, 20ms);
  a().wireguard().start_handshake(*pair().b_at_a);
  pair().settle();
  EXPECT_EQ(parsed<InitiationMessage>(from_a.of_type(kInitiation).back()).mac2, kNoMac);
}

TEST_F(Cookies, AFloodFromForgedSourcesAsksForNoNeighbours) {  // C-17
  start_with_load_of(kNever, 1);
  const Packet message = message_of(take_initiation_of_a());
  forget_frames();
  const auto asked = b().neighbours_asked_for();
  for (unsigned i = 0; i < 400; ++i) {
    Endpoint source{*parse_address("198.51.100." + std::to_string(3 + i % 250)), static_cast<uint16_t>(1000 + i), 0};
    b().wan().send(frame_around(message, b().site(), source));
    pair().step();
  }
  pair().settle();
  EXPECT_EQ(b().neighbours_asked_for(), asked);
  EXPECT_EQ(b().drop_names(), (Names{"handshake_under_load", "no_outer_route"}));
}

}  // namespace
}  // namespace sluice::test
