// Where a peer is: set by configuration and by every authentic packet, by nothing else. b watches a move.
#include "dataplane/crypto/primitives.h"
#include "tests/dpdk/pair/pair_fixture.h"

namespace sluice::test {
namespace {

using enum MessageType;

class Roaming : public PairTest {
 protected:
  void SetUp() override {
    start();
    for (Family family : {Family::kIpv4, Family::kIpv6}) know_neighbour(b(), elsewhere(family).address);
  }
  static Endpoint elsewhere(Family family = Family::kIpv4, uint16_t port = 4444) {
    return {*parse_address(family == Family::kIpv4 ? "198.51.100.77" : "2001:db8:ffff::77"), port, 0};
  }
  Endpoint home() { return wan_of(a()); }
  Endpoint where_b_sends() { return pair().a_at_b->at.remote; }
  // From now on a's packets come from `there` as far as b can see, and b's to `there` reach a.
  void move_a(const Endpoint& there) {
    from_a.rule = [this, there](Packet frame) {
      const ConstBytes message = message_in(frame);
      return just(frame_around(Packet(message.begin(), message.end()), b().site(), there));
    };
    from_b.rule = [this, there](Packet frame) -> std::vector<Packet> {
      if (destination_of(frame) != there) return {};
      const ConstBytes message = message_in(frame);
      return {frame_around(Packet(message.begin(), message.end()), a().site(), wan_of(b()))};
    };
  }
  // One message of a, taken off the wire.
  Packet take_data_of_a() {
    const WireRule before = from_a.rule;
    from_a.rule = lose;
    a_sends();
    pair().settle();
    from_a.rule = before;
    return from_a.of_type(kData).back();
  }
  Packet message_of(const Packet& frame) { return {message_in(frame).begin(), message_in(frame).end()}; }
};

TEST_F(Roaming, DataMovesTheEndpoint) {
  pair().shake_hands();
  ASSERT_EQ(where_b_sends(), home());
  move_a(elsewhere());
  EXPECT_TRUE(a_reaches_b());
  EXPECT_EQ(where_b_sends(), elsewhere());
  EXPECT_TRUE(b_reaches_a());
  move_a(elsewhere(Family::kIpv4, 4445));
  EXPECT_TRUE(a_reaches_b());
  EXPECT_TRUE(b_reaches_a());
  EXPECT_EQ(destination_of(from_b.frames.back()), elsewhere(Family::kIpv4, 4445));
  EXPECT_EQ(from_a.count(kInitiation), 1u);
  EXPECT_EQ(b().drop_names(), Names{});
}

TEST_F(Roaming, AKeepaliveMovesTheEndpoint) {
  pair().shake_hands();
  move_a(elsewhere());
  a().wireguard().request_keepalive(*pair().b_at_a);
  pair().settle();
  EXPECT_EQ(where_b_sends(), elsewhere());
  EXPECT_TRUE(b_reaches_a());
}

TEST_F(Roaming, AnInitiationSetsTheEndpointAndIsAnsweredThere) {
  move_a(elsewhere());
  EXPECT_TRUE(a_reaches_b());
  EXPECT_EQ(where_b_sends(), elsewhere());
  EXPECT_EQ(destination_of(from_b.of_type(kResponse).front()), elsewhere());
  pass(6s);
  move_a(elsewhere(Family::kIpv4, 4445));
  a().wireguard().start_handshake(*pair().b_at_a);
  pair().settle();
  EXPECT_EQ(destination_of(from_b.of_type(kResponse).back()), elsewhere(Family::kIpv4, 4445));
  EXPECT_TRUE(b_reaches_a());
}

TEST_F(Roaming, AResponseMovesTheEndpoint) {  // R-04, I-10
  know_neighbour(a(), elsewhere().address);
  from_b.rule = [this](Packet frame) { return just(frame_around(message_of(frame), a().site(), elsewhere())); };
  from_a.rule = losing(kData);
  a_sends();
  pair().settle();
  EXPECT_EQ(pair().b_at_a->at.remote, elsewhere());
  ASSERT_EQ(from_a.count(kData), 1u);
  EXPECT_EQ(destination_of(from_a.of_type(kData).front()), elsewhere());
}

TEST_F(Roaming, WhatIsNotAuthenticMovesNothing) {  // R-05, W-06
  pair().shake_hands();
  Packet message = message_of(take_data_of_a());
  message.back() ^= std::byte{1};
  inject(b(), frame_around(message, b().site(), elsewhere()));
  EXPECT_EQ(b().drop_names(), Names{"data_authentication"});
  message.back() ^= std::byte{1};
  message[15] ^= std::byte{0x7f};  // a huge counter
  inject(b(), frame_around(message, b().site(), elsewhere()));
  EXPECT_EQ(b().drop_names(), Names{"data_authentication"});
  EXPECT_EQ(where_b_sends(), home());
  EXPECT_EQ(b().neighbours_asked_for().count({elsewhere().address, 1}), 0u);
  EXPECT_TRUE(a_reaches_b());
}

TEST_F(Roaming, AReplayMovesNothing) {  // R-05, W-02
  pair().shake_hands();
  const Packet replay = message_of(from_a.of_type(kData).front());
  inject(b(), frame_around(replay, b().site(), elsewhere()));
  EXPECT_EQ(b().drop_names(), Names{"data_replay"});
  EXPECT_EQ(where_b_sends(), home());
  EXPECT_EQ(pair().arrived_at_b().size(), 0u);
}

TEST_F(Roaming, AnInitiationWithABadMacMovesNothing) {
  pair().shake_hands();
  Packet message = message_of(from_a.of_type(kInitiation).front());
  message[116] ^= std::byte{1};
  inject(b(), frame_around(message, b().site(), elsewhere()));
  EXPECT_EQ(b().drop_names(), Names{"handshake_mac1"});
  EXPECT_EQ(where_b_sends(), home());
}

TEST_F(Roaming, AForbiddenInnerSourceMovesTheEndpoint) {
  pair().shake_hands();
  move_a(elsewhere());
  a().host_sends(udp_packet(*parse_address("10.99.0.1"), b().site().host(Family::kIpv4), 7));
  pair().settle();
  EXPECT_EQ(b().drop_names(), Names{"inner_source"});
  EXPECT_EQ(where_b_sends(), elsewhere());
}

TEST_F(Roaming, BetweenIpv4AndIpv6AndBack) {
  pair().shake_hands();
  for (const Endpoint& there : {elsewhere(Family::kIpv6), elsewhere(), elsewhere(Family::kIpv6)}) {
    move_a(there);
    EXPECT_TRUE(a_reaches_b());
    EXPECT_EQ(where_b_sends(), there);
    EXPECT_TRUE(b_reaches_a());
  }
  EXPECT_EQ(b().drop_names(), Names{});
}

TEST_F(Roaming, ACopyThatArrivesFirstIsFollowedUntilTheNextGenuinePacket) {
  pair().shake_hands();
  const Packet original = take_data_of_a();
  inject(b(), frame_around(message_of(original), b().site(), elsewhere()));
  EXPECT_EQ(where_b_sends(), elsewhere());
  inject(b(), original);
  EXPECT_EQ(b().drop_names(), Names{"data_replay"});
  EXPECT_EQ(where_b_sends(), elsewhere());
  EXPECT_EQ(pair().arrived_at_b().size(), 1u);
  EXPECT_TRUE(a_reaches_b());
  EXPECT_EQ(where_b_sends(), home());
}

TEST_F(Roaming, ConfigurationMovesTheEndpointWithoutAHandshake) {
  pair().shake_hands();
  b().tunnel().set_endpoint(*pair().a_at_b, elsewhere());
  b().tunnel().apply_peer(*pair().a_at_b);
  b_sends();
  pair().settle();
  EXPECT_EQ(destination_of(from_b.of_type(kData).back()), elsewhere());
  EXPECT_EQ(from_b.count(kInitiation), 0u);
}

TEST_F(Roaming, RepliesLeaveFromTheAddressThatWasSpokenTo) {
  pair().shake_hands();
  const IpAddress second = *parse_address("198.51.100.222");
  const LinkAddress address{1, {second, 24}, false, true};
  b().network().put_address(address);
  Route local;
  local.prefix = Prefix::host(second);
  local.type = Route::Type::kLocal;
  local.table = Route::Table::kLocal;
  local.hops.emplace_back().interface = 1;
  b().network().put_route(local);
  b().network_changed();
  b().step();
  from_a.rule = [&, this](Packet frame) {
    Packet moved = frame_around(message_of(frame), b().site(), home());
    const size_t ip = 14;
    std::copy_n(reinterpret_cast<const std::byte*>(second.bytes.data()), 4, moved.begin() + ip + 16);
    moved[ip + 10] = moved[ip + 11] = std::byte{0};
    const uint16_t sum = ~[&] {
      uint32_t words = 0;
      for (size_t i = 0; i < 20; i += 2)
        words += (std::to_integer<uint32_t>(moved[ip + i]) << 8) + std::to_integer<uint32_t>(moved[ip + i + 1]);
      while (words >> 16) words = (words & 0xffff) + (words >> 16);
      return static_cast<uint16_t>(words);
    }();
    moved[ip + 10] = std::byte(sum >> 8);
    moved[ip + 11] = std::byte(sum & 0xff);
    moved[ip + 26] = moved[ip + 27] = std::byte{0};  // no UDP checksum
    return just(moved);
  };
  EXPECT_TRUE(a_reaches_b());
  b_sends();
  pair().settle();
  EXPECT_EQ(source_of(from_b.frames.back()).address, second);
  from_a.rule = lose;
  b().network().erase_address(address);
  b().network_changed();
  b().step();
  b_sends();
  pair().settle();
  EXPECT_EQ(source_of(from_b.frames.back()).address, b().site().wan(Family::kIpv4));
  EXPECT_EQ(from_b.count(kInitiation), 0u);
}

TEST_F(Roaming, ANextHopThatIsNotKnownYetGetsTheHandshakeLater) {
  const Endpoint unknown{*parse_address("198.51.100.99"), 4444, 0};
  move_a(unknown);
  a_sends();
  pair().settle();
  EXPECT_EQ(from_b.frames.size(), 0u);
  EXPECT_EQ(b().neighbours_asked_for().count({unknown.address, 1}), 1u) << "the initiation was authentic";
  know_neighbour(b(), unknown.address);
  pair().settle();
  EXPECT_EQ(from_b.count(kResponse), 1u) << "it was held, not lost";
  EXPECT_EQ(pair().arrived_at_b().size(), 1u);
  EXPECT_EQ(b().drop_names(), Names{});
}

}  // namespace
}  // namespace sluice::test
