// Handshakes between two gateways on a wire that loses, delays, doubles and forges them: who answers what, which
// session is used, and what a failed attempt leaves behind.
#include <algorithm>
#include <set>

#include "dataplane/crypto/primitives.h"
#include "tests/dpdk/pair/pair_fixture.h"

namespace sluice::test {
namespace {

using enum MessageType;

class Handshakes : public PairTest {
 protected:
  // A second, third... session: a is asked for one as its rekey timer would.
  void handshake_again() {
    pass(6s);
    a().wireguard().start_handshake(*pair().b_at_a);
    pair().settle();
  }
};

class Initiator : public Handshakes {};
class Responder : public Handshakes {};

// --- a as initiator ---

TEST_F(Initiator, CrossedInitiationsWorkAfterOneRetry) {  // I-13
  GatewayPair::Options options;
  options.b_knows_a = true;
  start(options);
  a_sends();
  b_sends();
  pair().settle();
  ASSERT_EQ(from_a.count(kInitiation), 1u);
  ASSERT_EQ(from_b.count(kInitiation), 1u);
  EXPECT_EQ(from_a.count(kResponse), 1u);
  EXPECT_EQ(from_b.count(kResponse), 1u);
  EXPECT_EQ(from_a.count(kData) + from_b.count(kData), 0u) << "neither session is confirmed";
  pass(5400ms, 10ms);
  EXPECT_EQ(pair().arrived_at_b().size(), 1u);
  EXPECT_EQ(pair().arrived_at_a().size(), 1u);
  EXPECT_EQ(from_a.count(kInitiation) + from_b.count(kInitiation), 3u);
  EXPECT_EQ(a().drop_names(), Names{"response_unknown_index"});
  EXPECT_EQ(b().drop_names(), Names{"response_unknown_index"});
}

TEST_F(Initiator, RetriesWithAFreshEphemeralIndexAndTimestamp) {  // I-03
  start();
  from_a.rule = lose;
  a_sends();
  pair().settle();
  ASSERT_EQ(from_a.count(kInitiation), 1u);
  for (int i = 0; i < 5; ++i) {
    const auto gap = time_until(from_a, kInitiation, 6s);
    ASSERT_TRUE(gap);
    EXPECT_GE(*gap, 5000ms);
    EXPECT_LE(*gap, 5350ms);
  }
  std::set<uint32_t> indices;
  std::set<WireBytes<32>> ephemerals;
  for (const Packet& frame : from_a.frames) {
    const auto message = parsed<InitiationMessage>(frame);
    indices.insert(message.sender_index.host());
    ephemerals.insert(message.ephemeral);
    EXPECT_EQ(message.mac2, WireBytes<16>{});
  }
  EXPECT_EQ(indices.size(), 6u);
  EXPECT_EQ(ephemerals.size(), 6u);
  EXPECT_EQ(a().drop_names(), Names{});
}

TEST_F(Initiator, GivesUpAfterTwentyAndStartsAgainWithNewTraffic) {  // I-04
  start();
  from_a.rule = lose;
  a_sends();
  pair().settle();
  ASSERT_TRUE(time_until(from_a, kInitiation, 101300ms, 19));
  EXPECT_GE(pair().clock.now() - MonoTime{1'000'000'000}, 95s);
  EXPECT_EQ(a().drops(Drop::staged_discarded), 0u);
  pass(200s);
  EXPECT_EQ(from_a.count(kInitiation), 20u);
  EXPECT_EQ(a().drop_names(), Names{"staged_discarded"});
  from_a.rule = {};
  EXPECT_TRUE(a_reaches_b());
}

TEST_F(Initiator, GoesOnForEverWhileThereIsTraffic) {  // I-05
  start();
  from_a.rule = lose;
  std::vector<MonoTime> sent;
  for (int second = 0; second < 150; ++second) {
    if (second % 3 == 0) a_sends();
    for (int i = 0; i < 10; ++i) {
      pass(100ms, 100ms);
      while (sent.size() < from_a.count(kInitiation)) sent.push_back(pair().clock.now());
    }
  }
  EXPECT_GE(sent.size(), 25u);
  for (size_t i = 1; i < sent.size(); ++i) EXPECT_GE(sent[i] - sent[i - 1], 5s);
}

TEST_F(Initiator, SendsTheNewest128InOrder) {  // I-06
  start();
  from_b.rule = lose;
  a_sends(200);
  pair().settle();
  from_b.rule = {};
  ASSERT_TRUE(time_until(from_b, kResponse, 6s));
  const auto arrived = sequences(pair().arrived_at_b());
  ASSERT_EQ(arrived.size(), 128u);
  EXPECT_TRUE(strictly_ascending(arrived));
  EXPECT_EQ(arrived.front(), 73u);
  EXPECT_EQ(a().drop_names(), Names{"staged_overflow"});
  EXPECT_EQ(a().drops(Drop::staged_overflow), 72u);
}

TEST_F(Initiator, AForgedResponseDoesNotCancel) {  // I-07, I-11
  start();
  from_b.rule = [&](Packet frame) -> std::vector<Packet> {
    Packet message(message_in(frame).begin(), message_in(frame).end());
    std::vector<Packet> frames;
    for (const size_t at : {size_t{8}, size_t{12}, size_t{44}, size_t{60}}) {  // receiver, ephemeral, tag, mac1
      message[at] ^= std::byte{1};
      frames.push_back(frame_around(message, a().site(), source_of(frame)));
      message[at] ^= std::byte{1};
    }
    frames.push_back(frame);
    return frames;
  };
  a_sends();
  pair().settle();
  EXPECT_EQ(pair().arrived_at_b().size(), 1u);
  EXPECT_EQ(a().drop_names(), Names{"handshake_mac1"});
  EXPECT_EQ(a().drops(Drop::handshake_mac1), 4u);
}

TEST_F(Initiator, ASecondCopyOfTheResponseChangesNothing) {  // I-08
  start();
  from_b.rule = [](Packet frame) { return std::vector{frame, frame}; };
  a_sends();
  pair().settle();
  const Keypair* current = pair().b_at_a->current();
  EXPECT_EQ(pair().arrived_at_b().size(), 1u);
  EXPECT_EQ(a().drop_names(), Names{"response_unknown_index"});
  inject(a(), from_b.of_type(kResponse).front());
  EXPECT_EQ(pair().b_at_a->current(), current);
  EXPECT_EQ(a().drops(Drop::response_unknown_index), 2u);
  EXPECT_TRUE(a_reaches_b());
  EXPECT_EQ(parsed<DataHeader>(from_a.of_type(kData).back()).counter.host(), 1u);
}

TEST_F(Initiator, TheResponseToASupersededInitiationIsRefused) {  // I-09
  start();
  from_b.rule = lose;
  a_sends();
  pair().settle();
  ASSERT_TRUE(time_until(from_a, kInitiation, 6s));
  const auto responses = from_b.of_type(kResponse);
  ASSERT_EQ(responses.size(), 2u);
  inject(a(), responses[0]);
  EXPECT_EQ(a().drop_names(), Names{"response_unknown_index"});
  EXPECT_EQ(from_a.count(kData), 0u);
  inject(a(), responses[1]);
  EXPECT_EQ(pair().arrived_at_b().size(), 1u);
  EXPECT_EQ(a().drops(Drop::response_unknown_index), 1u);
}

TEST_F(Initiator, AResponseNobodyWaitsForIsRefused) {  // I-12, M-12
  start();
  pair().shake_hands();
  inject(a(), from_b.of_type(kResponse).front());
  EXPECT_EQ(a().drop_names(), Names{"response_unknown_index"}) << "the index belongs to a keypair now";
}

TEST_F(Initiator, TheFirstMessageUnderASessionIsAKeepaliveIfNothingWaits) {  // I-02
  start();
  a().tunnel().set_persistent_keepalive(*pair().b_at_a, 25);
  a().tunnel().apply_peer(*pair().b_at_a);
  pair().settle();
  const auto data = from_a.of_type(kData);
  ASSERT_EQ(data.size(), 1u);
  EXPECT_EQ(message_in(data[0]).size(), kDataOverhead);
  EXPECT_EQ(parsed<DataHeader>(data[0]).counter.host(), 0u);
  EXPECT_NE(pair().a_at_b->current(), nullptr) << "it confirms the key";
}

TEST_F(Initiator, APeerRemovedDuringItsHandshake) {  // I-18
  start();
  from_b.rule = lose;
  a_sends(3);
  pair().settle();
  a().tunnel().remove_peer(pair().b_at_a->public_key);
  pair().settle();
  inject(a(), from_b.of_type(kResponse).front());
  EXPECT_EQ(a().drop_names(), (Names{"response_unknown_index", "staged_discarded"}));
  EXPECT_EQ(a().drops(Drop::staged_discarded), 3u);
  forget_frames();
  pass(200s, 100ms);
  EXPECT_EQ(pair().seen.size(), 0u) << "no timer of it is left";
}

TEST_F(Initiator, AnInterfaceThatIsDownStartsNothing) {  // I-15
  start();
  a().tunnel().set_up(false);
  a().step();
  a().tunnel().set_persistent_keepalive(*pair().b_at_a, 1);
  a().tunnel().apply_peer(*pair().b_at_a);
  a_sends();
  pass(30s);
  EXPECT_EQ(pair().seen.size(), 0u);
  EXPECT_EQ(a().drop_names(), Names{"tunnel_down"});
  a().tunnel().set_up(true);
  EXPECT_LE(time_until(from_a, kInitiation, 2s), 100ms);
}

TEST_F(Initiator, DownAndUpForgetsTheSessionAndWhatWasOwed) {  // I-16
  start();
  pair().shake_hands();
  from_b.rule = lose;
  a_sends();  // unanswered
  pair().settle();
  from_a.rule = lose;
  a_sends();
  b_sends();
  pair().settle();
  a().tunnel().set_up(false);
  pass(3s);
  a().tunnel().set_up(true);
  pair().settle();
  inject(a(), from_b.of_type(kData).back());
  EXPECT_EQ(a().drop_names(), Names{"data_unknown_index"});
  forget_frames();
  pass(60s);
  EXPECT_EQ(from_a.frames.size(), 0u) << "nobody has sent anything since it came up";
  from_a.rule = from_b.rule = {};
  EXPECT_TRUE(a_reaches_b());
  EXPECT_EQ(from_a.count(kInitiation), 1u);
}

TEST_F(Initiator, WhatWasStagedWhileItWentDownIsNotSentWhenItIsUp) {
  start();
  pair().a.tunnel().set_up(false);
  a_sends();  // the worker learns of it with the next publication only
  pair().step();
  pass(1s);
  a().tunnel().set_up(true);
  pair().settle();
  EXPECT_TRUE(a_reaches_b());
  EXPECT_EQ(sequence_, 2u);
  EXPECT_EQ(a().drop_names(), Names{"staged_discarded"});
}

TEST_F(Initiator, WithoutEndpointNothingIsStarted) {  // I-14
  start();
  b_sends();  // b does not know where a is
  pass(10s);
  EXPECT_EQ(pair().seen.size(), 0u);
  EXPECT_EQ(b().drop_names(), Names{"no_endpoint"});
  EXPECT_EQ(b().punts(), std::vector{PuntReason::kNoEndpoint}) << "for an ICMP error to the sender";
}

TEST_F(Initiator, NothingIsEverSentToAKeyOfLowOrder) {  // I-17
  start();
  PublicKey low{};
  low.bytes[0] = std::byte{1};
  PeerControl* peer = a().tunnel().add_peer(low);
  ASSERT_NE(peer, nullptr);
  a().tunnel().set_endpoint(*peer, wan_of(b()));
  a().tunnel().set_persistent_keepalive(*peer, 1);
  a().tunnel().apply_peer(*peer);
  pass(20s);
  EXPECT_EQ(pair().seen.size(), 0u);
}

// --- b as responder ---

TEST_F(Responder, SendsNothingBeforeTheFirstDataArrives) {  // H-16, H-18
  start();
  from_a.rule = losing(kData);
  a_sends();
  pair().settle();
  ASSERT_NE(pair().a_at_b->contact->next, nullptr);
  b_sends(3);
  pass(2s);
  EXPECT_EQ(from_b.count(kData), 0u);
  EXPECT_EQ(pair().a_at_b->last_handshake().seconds, 0);
  from_a.rule = {};
  a().wireguard().request_keepalive(*pair().b_at_a);
  pair().settle();
  EXPECT_EQ(sequences(pair().arrived_at_a()), (std::vector<uint32_t>{2, 3, 4}));
  EXPECT_EQ(pair().a_at_b->last_handshake().seconds, pair().clock.wall().seconds) << "confirmed now, not when answered";
  EXPECT_EQ(b().drop_names(), Names{});
}

TEST_F(Responder, SendsUnderTheOldKeyUntilTheNewOneIsConfirmed) {  // H-17
  start();
  pair().shake_hands();
  const uint32_t old_index = pair().a_at_b->current()->sending->remote_index;
  from_a.rule = losing(kData);
  handshake_again();
  ASSERT_NE(pair().a_at_b->contact->next, nullptr);
  EXPECT_TRUE(b_reaches_a());
  EXPECT_EQ(parsed<DataHeader>(from_b.of_type(kData).back()).receiver_index.host(), old_index);
  from_a.rule = {};
  EXPECT_TRUE(a_reaches_b());
  EXPECT_TRUE(b_reaches_a());
  EXPECT_NE(parsed<DataHeader>(from_b.of_type(kData).back()).receiver_index.host(), old_index);
  EXPECT_EQ(a().drop_names(), Names{});
  EXPECT_EQ(b().drop_names(), Names{});
}

TEST_F(Responder, APacketWithAForbiddenSourceConfirmsAllTheSame) {  // H-19
  start();
  from_a.rule = losing(kData);
  a_sends();
  pair().settle();
  from_a.rule = {};
  a().host_sends(udp_packet(*parse_address("10.99.0.1"), b().site().host(Family::kIpv4), 7));
  pair().settle();
  EXPECT_EQ(b().drop_names(), Names{"inner_source"});
  EXPECT_EQ(pair().arrived_at_b().size(), 0u);
  ASSERT_NE(pair().a_at_b->current(), nullptr);
  EXPECT_TRUE(b_reaches_a());
}

TEST_F(Responder, ASecondInitiationReplacesTheUnconfirmedSession) {  // H-20
  start();
  from_a.rule = losing(kData);
  a_sends();
  pair().settle();
  const Packet first = from_a.of_type(kData).front();
  handshake_again();
  const Packet second = from_a.of_type(kData).back();
  from_a.rule = {};
  inject(b(), first);
  EXPECT_EQ(b().drop_names(), Names{"data_unknown_index"});
  EXPECT_EQ(pair().a_at_b->current(), nullptr);
  inject(b(), second);
  EXPECT_NE(pair().a_at_b->current(), nullptr);
  EXPECT_EQ(b().drops(Drop::data_unknown_index), 1u);
}

TEST_F(Responder, KeepsThePreviousSessionForReceiving) {  // H-21
  start();
  std::vector<Packet> late;  // one message of each session, which arrives after the third began
  for (int session = 0; session < 3; ++session) {
    session == 0 ? pair().shake_hands() : handshake_again();
    from_a.rule = losing(kData);
    a_sends();
    pair().settle();
    late.push_back(from_a.of_type(kData).back());
    from_a.rule = {};
  }
  EXPECT_EQ(from_a.count(kInitiation), 3u);
  inject(b(), late[0]);
  EXPECT_EQ(b().drop_names(), Names{"data_unknown_index"});
  inject(b(), late[1]);
  inject(b(), late[2]);
  EXPECT_EQ(sequences(pair().arrived_at_b()), (std::vector<uint32_t>{2, 3}));
  EXPECT_EQ(b().drops(Drop::data_unknown_index), 1u);
  EXPECT_TRUE(b_reaches_a());
  EXPECT_EQ(parsed<DataHeader>(from_b.of_type(kData).back()).receiver_index.host(),
            pair().b_at_a->current()->receiving.local_index);
}

TEST_F(Responder, AnswersDespiteAnotherPresharedKeyAndNeverSendsUnderIt) {  // H-04
  start();
  Secret<32> psk;
  SeededRng(5).fill(psk.bytes());
  b().tunnel().set_preshared_key(*pair().a_at_b, std::move(psk));
  a_sends();
  pair().settle();
  b_sends();
  pass(4s);
  EXPECT_EQ(from_b.count(kResponse), 1u);
  EXPECT_EQ(from_b.count(kData), 0u);
  EXPECT_EQ(from_a.count(kData), 0u);
  EXPECT_EQ(a().drop_names(), Names{"response_authentication"});
  EXPECT_EQ(b().drop_names(), Names{});
}

TEST_F(Responder, APresharedKeyCountsFromTheNextHandshakeOn) {
  start();
  pair().shake_hands();
  for (auto [gateway, peer] : {std::pair(&a(), pair().b_at_a), std::pair(&b(), pair().a_at_b)}) {
    Secret<32> psk;
    SeededRng(5).fill(psk.bytes());
    gateway->tunnel().set_preshared_key(*peer, std::move(psk));
  }
  EXPECT_TRUE(a_reaches_b());
  EXPECT_EQ(from_a.count(kInitiation), 1u);
  handshake_again();
  EXPECT_TRUE(a_reaches_b());
  EXPECT_TRUE(b_reaches_a());
  EXPECT_EQ(a().drop_names(), Names{});
}

TEST_F(Responder, WithoutAPrivateKeyNobodyIsAnswered) {  // H-22
  start();
  b().tunnel().set_private_key(PrivateKey());
  b().step();
  a_sends();
  pair().settle();
  EXPECT_EQ(from_b.frames.size(), 0u);
  EXPECT_EQ(b().drop_names(), Names{"handshake_no_identity"});
}

TEST_F(Responder, ANewPrivateKeyAnswersForTheNewPublicKeyOnly) {  // H-23, U-20
  start();
  pair().shake_hands();
  SeededRng rng(9);
  PrivateKey fresh = generate_private_key(rng);
  const PublicKey fresh_public = public_key_of(fresh);
  b().tunnel().set_private_key(std::move(fresh));
  EXPECT_EQ(b().tunnel().peers().size(), 1u);
  EXPECT_TRUE(a_reaches_b()) << "what is under way still arrives";
  forget_frames();
  b_sends();
  pair().settle();
  EXPECT_EQ(from_b.count(kData), 0u) << "sessions under the old key are not sent under any more";
  EXPECT_EQ(from_b.count(kInitiation), 1u) << "at once";
  EXPECT_EQ(a().drop_names(), Names{"initiation_unknown_peer"});
  pass(6s);
  a().wireguard().start_handshake(*pair().b_at_a);
  pair().settle();
  EXPECT_EQ(b().drop_names(), Names{"handshake_mac1"}) << "made for the old key";

  Tunnel& tunnel = a().tunnel();
  tunnel.remove_all_peers();
  PeerControl* peer = tunnel.add_peer(fresh_public);
  tunnel.add_allowed_ip(*peer, b().site().lan_prefix(Family::kIpv4));
  tunnel.set_endpoint(*peer, wan_of(b()));
  tunnel.apply_peer(*peer);
  pair().settle();
  EXPECT_TRUE(a_reaches_b());
}

TEST_F(Responder, StartsNothingWithinFiveSecondsOfItsResponse) {  // I-19
  start();
  from_a.rule = losing(kData);
  a_sends();
  pair().settle();
  const MonoTime answered = pair().clock.now();
  while (from_b.count(kInitiation) == 0 && pair().clock.now() - answered < 10s) {
    b_sends();
    pass(100ms);
  }
  EXPECT_GE(pair().clock.now() - answered, 5s);
  EXPECT_LE(pair().clock.now() - answered, 5200ms);
}

TEST_F(Responder, AnInitiationToATunnelThatIsDownIsSilent) {
  start();
  b().tunnel().set_up(false);
  a_sends();
  pair().step();
  pair().settle();
  EXPECT_EQ(from_b.frames.size(), 0u);
}

TEST_F(Responder, AReplayedInitiationChangesNothing) {  // H-08, H-12, R-05
  start();
  pair().shake_hands();
  const Packet initiation = from_a.of_type(kInitiation).front();
  const Packet message(message_in(initiation).begin(), message_in(initiation).end());
  const Endpoint where = pair().a_at_b->at.remote;
  const Keypair* current = pair().a_at_b->current();
  pass(1s);
  forget_frames();
  inject(b(), frame_around(message, b().site(), Endpoint{a().site().wan(Family::kIpv4), 999, 0}));
  EXPECT_EQ(b().drop_names(), Names{"initiation_replay"});
  EXPECT_EQ(from_b.frames.size(), 0u);
  EXPECT_EQ(pair().a_at_b->at.remote, where);
  EXPECT_EQ(pair().a_at_b->current(), current);
  EXPECT_EQ(pair().a_at_b->contact->next, nullptr);
}

TEST_F(Responder, ItsStateGoesWithThePeer) {  // H-13
  start();
  pair().shake_hands();
  const Packet initiation = from_a.of_type(kInitiation).front();
  const PublicKey key = pair().a_at_b->public_key;
  b().tunnel().remove_peer(key);
  PeerControl* again = b().tunnel().add_peer(key);
  pass(1s);
  inject(b(), initiation);
  EXPECT_EQ(from_b.count(kResponse), 2u) << "the memory of old initiations went with the peer";
  EXPECT_EQ(again->current(), nullptr);
}

}  // namespace
}  // namespace sluice::test
