// The consuming functions as a peer's control uses them: what is accepted, what is refused under which name, and that a
// refused message changes nothing.
#include "control/noise/handshake.h"

#include <gtest/gtest.h>

#include "control/noise/cookie.h"
#include "dataplane/crypto/primitives.h"
#include "dataplane/wire/limits.h"
#include "tests/support/manual_clock.h"
#include "tests/support/seeded_rng.h"
#include "tests/unit/noise/known_handshake.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::bytes_of;
using test::from_hex;
using test::from_hex_as;
using test::hex;
using test::KnownHandshake;
using test::ManualClock;
using test::secret_from_hex;
using test::SeededRng;
using test::writable_bytes_of;

// Where a message ends up; the names of malformed*.json.
constexpr std::string_view kAccepted = "";

std::string_view stage_of(HandshakeError error) {
  switch (error) {
    case HandshakeError::kLowOrderKey:
      return "low-order";
    case HandshakeError::kForgedStatic:
      return "auth";
    case HandshakeError::kForgedTimestamp:
      return "auth";
    case HandshakeError::kForgedResponse:
      return "auth";
    case HandshakeError::kWrongReceiverIndex:
      return "index";
    case HandshakeError::kReplayedTimestamp:
      return "replay";
    case HandshakeError::kInitiationFlood:
      return "flood";
  }
  return "?";
}

template <class Message>
Message message_from(ConstBytes bytes) {
  Message message;
  EXPECT_EQ(bytes.size(), sizeof message);
  std::memcpy(&message, bytes.data(), sizeof message);
  return message;
}

// A responder with one configured peer: what control does with an initiation, in its order.
struct Responder {
  explicit Responder(const KnownHandshake& k) : known(k) {}

  std::string_view receive(ConstBytes datagram, MonoTime now = MonoTime{1}) {
    switch (classify(datagram)) {
      case MessageType::kInitiation:
        break;
      case MessageType::kData:
        return "index";
      default:
        return "format";
    }
    if (!has_valid_mac1(known.responder, datagram)) return "mac1";
    const auto message = message_from<InitiationMessage>(datagram);
    auto claimed = decrypt_initiation_static(known.responder, message);
    if (!claimed) return stage_of(claimed.error());
    if (claimed->static_key != known.initiator.public_key) return "unknown-peer";
    auto received = finish_initiation(std::move(*claimed), known.initiator_seen, message);
    if (!received) return stage_of(received.error());
    if (const auto error = guard.check(received->timestamp, now)) return stage_of(*error);
    guard.commit(received->timestamp, now);
    ++accepted;
    remote_index = received->remote_index;
    return kAccepted;
  }

  const KnownHandshake& known;
  InitiationGuard guard;
  int accepted = 0;
  uint32_t remote_index = 0;
};

struct Initiator {
  explicit Initiator(const KnownHandshake& k) : known(k), sent(k.create_initiation().state) {}

  std::string_view receive(ConstBytes datagram) const {
    switch (classify(datagram)) {
      case MessageType::kResponse:
        break;
      case MessageType::kData:
        return "index";
      default:
        return "format";
    }
    if (!has_valid_mac1(known.initiator, datagram)) return "mac1";
    const auto keys = consume_response(known.initiator, known.psk, sent, message_from<ResponseMessage>(datagram));
    return keys ? kAccepted : stage_of(keys.error());
  }

  const KnownHandshake& known;
  SentInitiation sent;
};

InitiationMessage initiation_at(const KnownHandshake& known, const Tai64n& timestamp, Rng& rng) {
  CookieJar jar;
  auto created = create_initiation(known.initiator, known.responder_seen, rng.next_u32(), timestamp, rng);
  EXPECT_TRUE(created);
  jar.add_macs(writable_bytes_of(created->message), known.responder_seen, MonoTime{1});
  return created->message;
}

void sign(Bytes message, const RemoteIdentity& recipient) {
  CookieJar jar;
  jar.add_macs(message, recipient, MonoTime{1});
}

TEST(Handshake, BytesAndKeysOfTheKnownHandshakes) {  // H-01, H-03, H-15, I-01
  const auto file = test::load_vectors("handshake.json");
  for (const auto& vector : file["vectors"]) {
    SCOPED_TRACE(vector["id"].get<std::string>());
    const KnownHandshake known(vector);
    CreatedInitiation initiation = known.create_initiation();
    EXPECT_EQ(hex(bytes_of(initiation.message)).substr(0, 232), vector["initiation"].get<std::string>().substr(0, 232));
    EXPECT_TRUE(is_zero_constant_time(initiation.message.mac1));

    const auto received = known.receive(known.initiation);
    ASSERT_TRUE(received);
    EXPECT_EQ(received->timestamp, known.timestamp);
    EXPECT_EQ(received->remote_index, vector["initiator_index"]);

    const CreatedResponse response = known.create_response();
    EXPECT_EQ(hex(bytes_of(response.message)).substr(0, 120), vector["response"].get<std::string>().substr(0, 120));
    EXPECT_EQ(hex(response.keys.sending.bytes()), vector["initiator_receiving_key"]);
    EXPECT_EQ(hex(response.keys.receiving.bytes()), vector["initiator_sending_key"]);
    EXPECT_EQ(response.keys.local_index, vector["responder_index"]);
    EXPECT_EQ(response.keys.remote_index, vector["initiator_index"]);
    EXPECT_FALSE(response.keys.initiator);

    const auto keys = consume_response(known.initiator, known.psk, initiation.state, known.response);
    ASSERT_TRUE(keys);
    EXPECT_EQ(hex(keys->sending.bytes()), vector["initiator_sending_key"]);
    EXPECT_EQ(hex(keys->receiving.bytes()), vector["initiator_receiving_key"]);
    EXPECT_EQ(keys->local_index, vector["initiator_index"]);
    EXPECT_EQ(keys->remote_index, vector["responder_index"]);
    EXPECT_TRUE(keys->initiator);
  }
}

TEST(Handshake,
     MalformedInitiationsAreDroppedWhereTheyShould) {  // M-01, M-02, M-05..M-07, M-09, H-05, H-06, H-14, H-15
  const auto file = test::load_vectors("malformed.json");
  const KnownHandshake known = KnownHandshake::load("psk");
  ASSERT_EQ(file["vectors"].size(), 53u);
  for (const auto& vector : file["vectors"]) {
    SCOPED_TRACE(vector["id"].get<std::string>());
    Responder responder(known);
    EXPECT_EQ(responder.receive(from_hex(vector["message"].get<std::string>())), vector["dropped_at"]);
    if (vector["id"].get<std::string>() == "index-changed") {
      EXPECT_EQ(responder.remote_index, 0xffff'ffff);
    }
    if (vector["dropped_at"] != "") {  // the drop left no trace: the genuine one is accepted
      EXPECT_EQ(responder.accepted, 0);
      EXPECT_EQ(responder.receive(bytes_of(known.initiation)), kAccepted);
    }
  }
}

TEST(Handshake, MalformedResponsesLeaveTheInitiationOutstanding) {  // M-01, M-03, M-09, I-07, I-11
  const auto file = test::load_vectors("malformed_response.json");
  const KnownHandshake known = KnownHandshake::load("psk");
  const Initiator initiator(known);
  ASSERT_EQ(file["vectors"].size(), 29u);
  for (const auto& vector : file["vectors"]) {
    SCOPED_TRACE(vector["id"].get<std::string>());
    EXPECT_EQ(initiator.receive(from_hex(vector["message"].get<std::string>())), vector["dropped_at"]);
    EXPECT_EQ(initiator.receive(bytes_of(known.response)), kAccepted);
  }
}

TEST(Handshake, MessagesMadeForAnotherKey) {  // H-05, H-06, H-07
  SeededRng rng;
  const KnownHandshake known = KnownHandshake::load("psk");
  const auto other = LocalIdentity::make(generate_private_key(rng));
  const RemoteIdentity other_seen = RemoteIdentity::make(known.initiator, other->public_key);
  Responder responder(known);

  auto for_other = create_initiation(known.initiator, other_seen, 1, known.timestamp, rng);
  ASSERT_TRUE(for_other);
  sign(writable_bytes_of(for_other->message), other_seen);
  EXPECT_EQ(responder.receive(bytes_of(for_other->message)), "mac1");
  sign(writable_bytes_of(for_other->message), known.responder_seen);
  EXPECT_EQ(decrypt_initiation_static(known.responder, for_other->message).error(), HandshakeError::kForgedStatic);

  // The claimed key is the configured one, but its owner did not make the message: es fits, ss cannot.
  auto impostor = LocalIdentity::make(generate_private_key(rng));
  impostor->public_key = known.initiator.public_key;
  const RemoteIdentity seen_by_impostor = RemoteIdentity::make(*impostor, known.responder.public_key);
  auto forged = create_initiation(*impostor, seen_by_impostor, 1, known.timestamp, rng);
  ASSERT_TRUE(forged);
  auto claimed = decrypt_initiation_static(known.responder, forged->message);
  ASSERT_TRUE(claimed);
  EXPECT_EQ(claimed->static_key, known.initiator.public_key);
  EXPECT_EQ(finish_initiation(std::move(*claimed), known.initiator_seen, forged->message).error(),
            HandshakeError::kForgedTimestamp);
  EXPECT_EQ(responder.accepted, 0);
}

TEST(Handshake, ReplayedAndOlderTimestamps) {  // H-08, H-09, M-23
  SeededRng rng;
  ManualClock clock;
  const KnownHandshake known = KnownHandshake::load("psk");
  Responder responder(known);
  const auto send = [&](const Tai64n& timestamp) {
    clock.advance(kInitiationInterval);
    return responder.receive(bytes_of(initiation_at(known, timestamp, rng)), clock.now());
  };
  Tai64n t = known.timestamp;
  EXPECT_EQ(responder.receive(bytes_of(known.initiation), clock.now()), kAccepted);
  clock.advance(kInitiationInterval);
  EXPECT_EQ(responder.receive(bytes_of(known.initiation), clock.now()), "replay");
  EXPECT_EQ(send(t), "replay");
  t.bytes[11] = static_cast<std::byte>(int(t.bytes[11]) + 1);
  EXPECT_EQ(send(t), kAccepted);
  EXPECT_EQ(send(known.timestamp), "replay");
  EXPECT_EQ(send(Tai64n{}), "replay");
  Tai64n last;
  last.bytes.fill(std::byte{0xff});
  EXPECT_EQ(send(last), kAccepted);  // the peer's own doing: it is locked out from now on
  EXPECT_EQ(send(last), "replay");
  EXPECT_EQ(responder.accepted, 3);
}

TEST(Handshake, AtMostOneInitiationIn20Milliseconds) {  // H-10, H-11, M-20
  SeededRng rng;
  ManualClock clock;
  const KnownHandshake known = KnownHandshake::load("psk");
  Responder responder(known), another_peer(known);
  Tai64n t = known.timestamp;
  const auto send = [&](Responder& to) {
    t.bytes[11] = static_cast<std::byte>(int(t.bytes[11]) + 1);
    return to.receive(bytes_of(initiation_at(known, t, rng)), clock.now());
  };
  EXPECT_EQ(send(responder), kAccepted);
  clock.advance(kInitiationInterval - 1ns);
  EXPECT_EQ(send(responder), "flood");
  EXPECT_EQ(send(another_peer), kAccepted);
  clock.advance(1ns);
  EXPECT_EQ(send(responder), kAccepted);  // counted from the last ACCEPTED one
  clock.advance(50ms);
  EXPECT_EQ(send(responder), kAccepted);
}

TEST(Handshake, EveryFlippedBitOfAnInitiation) {  // M-08
  const KnownHandshake known = KnownHandshake::load("psk");
  Responder responder(known);
  for (size_t bit = 0; bit < 8 * sizeof(InitiationMessage); ++bit) {
    InitiationMessage message = known.initiation;
    writable_bytes_of(message)[bit / 8] ^= std::byte(1 << (bit % 8));
    const bool in_mac2 = bit / 8 >= 132;  // ignored without load
    if (in_mac2) {
      EXPECT_EQ(Responder(known).receive(bytes_of(message)), kAccepted) << bit;
      continue;
    }
    EXPECT_EQ(responder.receive(bytes_of(message)), bit < 32 ? "format" : "mac1") << bit;
    if (bit / 8 < 8 || bit / 8 >= 116) continue;
    sign(writable_bytes_of(message), known.responder_seen);
    EXPECT_EQ(responder.receive(bytes_of(message)), "auth") << bit;
  }
  EXPECT_EQ(responder.accepted, 0);
  EXPECT_EQ(responder.receive(bytes_of(known.initiation)), kAccepted);
}

TEST(Handshake, EveryFlippedBitOfAResponse) {  // I-07
  const KnownHandshake known = KnownHandshake::load("psk");
  const Initiator initiator(known);
  for (size_t bit = 32; bit < 8 * offsetof(ResponseMessage, mac1); ++bit) {
    ResponseMessage message = known.response;
    writable_bytes_of(message)[bit / 8] ^= std::byte(1 << (bit % 8));
    EXPECT_EQ(initiator.receive(bytes_of(message)), "mac1") << bit;
    sign(writable_bytes_of(message), known.initiator_seen);
    const std::string_view expected = bit / 8 < 8 ? kAccepted : bit / 8 < 12 ? "index" : "auth";
    EXPECT_EQ(initiator.receive(bytes_of(message)), expected) << bit;
  }
  EXPECT_EQ(initiator.receive(bytes_of(known.response)), kAccepted);
}

TEST(Handshake, AnotherPresharedKey) {  // H-04, I-07
  const KnownHandshake known = KnownHandshake::load("psk");
  const Initiator initiator(known);
  EXPECT_EQ(consume_response(known.initiator, PresharedKey(), initiator.sent, known.response).error(),
            HandshakeError::kForgedResponse);
  EXPECT_EQ(initiator.receive(bytes_of(known.response)), kAccepted);
}

TEST(Handshake, OnlyTheLatestInitiationIsAnswered) {  // I-08, I-09, I-12, I-13
  SeededRng rng;
  const KnownHandshake known = KnownHandshake::load("psk");
  std::optional<SentInitiation> slot = known.create_initiation().state;
  auto retry = create_initiation(known.initiator, known.responder_seen, 77, known.timestamp, rng);
  ASSERT_TRUE(retry);
  slot = std::move(retry->state);
  EXPECT_EQ(consume_response(known.initiator, known.psk, *slot, known.response).error(),
            HandshakeError::kWrongReceiverIndex);
  // An index that was drawn again by chance does not help: the transcript differs.
  slot->local_index = known.response.receiver_index.host();
  EXPECT_EQ(consume_response(known.initiator, known.psk, *slot, known.response).error(),
            HandshakeError::kForgedResponse);
  slot->local_index = 77;

  auto received = known.receive(retry->message);
  ASSERT_TRUE(received);
  auto response = create_response(std::move(*received), known.initiator_seen, known.psk, 78, rng);
  ASSERT_TRUE(response);
  const auto keys = consume_response(known.initiator, known.psk, *slot, response->message);
  ASSERT_TRUE(keys);
  EXPECT_TRUE(keys->sending.equals(response->keys.receiving));
  EXPECT_TRUE(keys->receiving.equals(response->keys.sending));
}

TEST(Handshake, EphemeralsAreFresh) {  // I-03
  SeededRng rng;
  const KnownHandshake known = KnownHandshake::load("no-psk");
  const auto a = create_initiation(known.initiator, known.responder_seen, 1, known.timestamp, rng);
  const auto b = create_initiation(known.initiator, known.responder_seen, 1, known.timestamp, rng);
  ASSERT_TRUE(a && b);
  EXPECT_NE(a->message.ephemeral, b->message.ephemeral);
}

TEST(Handshake, PeersOfLowOrderAreNeverSpokenTo) {  // I-17
  SeededRng rng;
  const KnownHandshake known = KnownHandshake::load("psk");
  const auto file = test::load_vectors("small.json");
  const auto& points = file["reserved_keys"]["low_order_points"];
  ASSERT_EQ(points.size(), 7u);
  for (const auto& point : points) {
    SCOPED_TRACE(point.get<std::string>());
    const RemoteIdentity remote = RemoteIdentity::make(known.responder, from_hex_as<PublicKey>(point));
    EXPECT_FALSE(remote.usable());
    EXPECT_EQ(create_initiation(known.responder, remote, 1, known.timestamp, rng).error(),
              HandshakeError::kLowOrderKey);
    // An initiation that claims such a key: ss is known to everybody, so it must not count.
    auto claimed = decrypt_initiation_static(known.responder, known.initiation);
    ASSERT_TRUE(claimed);
    EXPECT_EQ(finish_initiation(std::move(*claimed), remote, known.initiation).error(), HandshakeError::kLowOrderKey);
    auto received = known.receive(known.initiation);
    ASSERT_TRUE(received);
    EXPECT_EQ(create_response(std::move(*received), remote, known.psk, 1, rng).error(), HandshakeError::kLowOrderKey);
  }
  EXPECT_TRUE(known.initiator_seen.usable());
}

TEST(Handshake, OwnInitiationReflected) {  // M-14
  const KnownHandshake known = KnownHandshake::load("psk");
  EXPECT_FALSE(has_valid_mac1(known.initiator, bytes_of(known.initiation)));
  InitiationMessage reflected = known.initiation;
  sign(writable_bytes_of(reflected), known.initiator_seen);
  EXPECT_EQ(decrypt_initiation_static(known.initiator, reflected).error(), HandshakeError::kForgedStatic);
}

TEST(Identity, ZeroMeansNoneAndOthersAreClamped) {  // H-22, U-08
  EXPECT_FALSE(LocalIdentity::make(PrivateKey()));
  const auto file = test::load_vectors("small.json");
  for (const auto& vector : file["clamping"]) {
    if (secret_from_hex(vector["private"]).is_zero()) continue;
    const auto identity = LocalIdentity::make(secret_from_hex(vector["private"]));
    ASSERT_TRUE(identity);
    EXPECT_EQ(hex(identity->private_key.bytes()), vector["stored"]);
    EXPECT_EQ(identity->public_key, public_key_of(secret_from_hex(vector["stored"])));
  }
}

TEST(Tai64n, WhitenedStampsAndTheirOrder) {
  const auto file = test::load_vectors("small.json");
  for (const auto& vector : file["tai64n"]["vectors"]) {
    const WallTime time{vector["unix_seconds"], vector["nanoseconds"]};
    EXPECT_EQ(hex(Tai64n::whitened(time).bytes), vector["on_the_wire"]);
  }
  ManualClock clock;
  Tai64n last = Tai64n::whitened(clock.wall());
  Nanoseconds since_change = 0ns;
  for (int i = 0; i < 1000; ++i) {
    clock.advance(1ms);
    since_change += 1ms;
    const Tai64n stamp = Tai64n::whitened(clock.wall());
    EXPECT_GE(stamp, last);
    if (stamp > last) {
      const bool second_began = clock.wall().nanoseconds < 1'000'000;  // the last slot of a second is shorter
      if (!second_began && i > 20) {
        EXPECT_GE(since_change, 16ms);
      }
      since_change = 0ns;
    }
    last = stamp;
  }
}

}  // namespace
}  // namespace sluice
