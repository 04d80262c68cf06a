#include "control/noise/cookie.h"

#include <gtest/gtest.h>

#include "dataplane/crypto/primitives.h"
#include "tests/support/manual_clock.h"
#include "tests/support/seeded_rng.h"
#include "tests/unit/noise/known_handshake.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::bytes_of;
using test::FixedRng;
using test::from_hex;
using test::from_hex_as;
using test::hex;
using test::KnownHandshake;
using test::ManualClock;
using test::SeededRng;
using test::writable_bytes_of;

Endpoint endpoint(const std::string& address, uint16_t port) { return {*parse_address(address), port, 0}; }

TEST(Mac1, OfMessagesThatOthersMade) {  // X-04, H-05
  const auto file = test::load_vectors("mac1_known.json");
  for (const auto& vector : file["vectors"]) {
    LocalIdentity local;
    local.public_key = from_hex_as<PublicKey>(vector["responder_static_public"]);
    local.mac1_key = mac1_key_of(local.public_key);
    auto message = from_hex_as<InitiationMessage>(vector["initiation"]);
    EXPECT_TRUE(has_valid_mac1(local, bytes_of(message)));
    message.mac1[15] ^= std::byte{1};
    EXPECT_FALSE(has_valid_mac1(local, bytes_of(message)));
  }
}

TEST(CookieJar, MacsOfTheKnownHandshakes) {  // H-01, I-01: mac1 right, mac2 zero
  ManualClock clock;
  for (const char* id : {"no-psk", "psk", "index-edges"}) {
    const KnownHandshake known = KnownHandshake::load(id);
    CookieJar initiator_jar, responder_jar;
    InitiationMessage initiation = known.create_initiation().message;
    initiator_jar.add_macs(writable_bytes_of(initiation), known.responder_seen, clock.now());
    EXPECT_EQ(hex(bytes_of(initiation)), known.v["initiation"]);
    ResponseMessage response = known.create_response().message;
    responder_jar.add_macs(writable_bytes_of(response), known.initiator_seen, clock.now());
    EXPECT_EQ(hex(bytes_of(response)), known.v["response"]);
  }
}

// The issuer and the user of one vector of cookie.json.
struct KnownCookie {
  explicit KnownCookie(const nlohmann::json& vector)
      : v(vector),
        rng(v["issuer_secret"].get<std::string>() + v["nonce"].get<std::string>()),
        issuer(rng),
        source(endpoint(v["source_ip"], v["source_port"])),
        message(from_hex(v["message"].get<std::string>())) {
    local.public_key = from_hex_as<PublicKey>(v["issuer_static_public"]);
    local.mac1_key = mac1_key_of(local.public_key);
    local.cookie_key = cookie_key_of(local.public_key);
    remote.public_key = local.public_key;
    remote.mac1_key = local.mac1_key;
    remote.cookie_key = local.cookie_key;
  }
  nlohmann::json v;
  FixedRng rng;  // the secret, then the nonce
  CookieIssuer issuer;
  Endpoint source;
  std::vector<std::byte> message;
  LocalIdentity local;
  RemoteIdentity remote;
};

TEST(Cookie, KnownRepliesAndTheMac2TheyYield) {  // C-01, C-02, C-03, C-12, C-13 (pure part)
  ManualClock clock;
  const auto file = test::load_vectors("cookie.json");
  ASSERT_EQ(file["vectors"].size(), 4u);
  for (const auto& vector : file["vectors"]) {
    SCOPED_TRACE(vector["id"].get<std::string>());
    KnownCookie known(vector);
    EXPECT_EQ(hex(known.local.cookie_key), vector["cookie_key"]);
    ASSERT_TRUE(has_valid_mac1(known.local, known.message));
    EXPECT_FALSE(known.issuer.has_valid_mac2(known.message, known.source, clock.now()));
    const CookieReplyMessage reply = known.issuer.make_reply(known.local, known.message, known.source, clock.now());
    EXPECT_EQ(hex(bytes_of(reply)), vector["cookie_reply"]);

    CookieJar jar;
    jar.add_macs(known.message, known.remote, clock.now());
    EXPECT_EQ(hex(known.message), vector["message"]);
    EXPECT_EQ(jar.consume(reply, known.remote, clock.now()), std::nullopt);
    jar.add_macs(known.message, known.remote, clock.now());
    EXPECT_EQ(hex(known.message), vector["same_message_with_mac2"]);
    EXPECT_TRUE(known.issuer.has_valid_mac2(known.message, known.source, clock.now()));
  }
}

// Two parties with one cookie exchanged.
class CookieExchange : public testing::Test {
 protected:
  KnownHandshake known = KnownHandshake::load("psk");
  ManualClock clock;
  SeededRng rng;
  CookieIssuer issuer{rng};
  CookieJar jar;
  const Endpoint source = endpoint("192.0.2.33", 51820);
  InitiationMessage message = known.create_initiation().message;

  void sign() { jar.add_macs(writable_bytes_of(message), known.responder_seen, clock.now()); }
  CookieReplyMessage reply() { return issuer.make_reply(known.responder, bytes_of(message), source, clock.now()); }
  std::optional<CookieError> consume(const CookieReplyMessage& r) {
    return jar.consume(r, known.responder_seen, clock.now());
  }
  bool valid_from(const Endpoint& from) { return issuer.has_valid_mac2(bytes_of(message), from, clock.now()); }
  bool has_mac2() const { return !is_zero_constant_time(message.mac2); }
};

TEST_F(CookieExchange, WorksFromItsAddressAndPortOnly) {  // C-03, C-04
  sign();
  ASSERT_EQ(consume(reply()), std::nullopt);
  sign();
  EXPECT_TRUE(valid_from(source));
  EXPECT_FALSE(valid_from(endpoint("192.0.2.33", 51821)));
  EXPECT_FALSE(valid_from(endpoint("192.0.2.34", 51820)));
  EXPECT_FALSE(valid_from(endpoint("::ffff:192.0.2.33", 51820)));
  message.mac2[0] ^= std::byte{1};
  EXPECT_FALSE(valid_from(source));
}

TEST_F(CookieExchange, SecretIsReplacedAfter120Seconds) {  // C-11
  sign();
  ASSERT_EQ(consume(reply()), std::nullopt);
  sign();
  clock.advance(120s - 1ns);
  EXPECT_TRUE(valid_from(source));
  clock.advance(1ns);
  EXPECT_FALSE(valid_from(source));
}

TEST_F(CookieExchange, IsUsedFor115Seconds) {  // C-15
  sign();
  ASSERT_EQ(consume(reply()), std::nullopt);
  clock.advance(115s - 1ns);
  sign();
  EXPECT_TRUE(has_mac2());
  clock.advance(1ns);
  sign();
  EXPECT_FALSE(has_mac2());
}

TEST_F(CookieExchange, ForgedRepliesAreIgnored) {  // C-14, M-03
  const CookieReplyMessage early = reply();
  EXPECT_EQ(consume(early), CookieError::kUnexpected);  // nothing has been sent
  sign();
  const CookieReplyMessage good = reply();
  for (size_t bit = 8 * offsetof(CookieReplyMessage, nonce); bit < 8 * sizeof good; ++bit) {
    CookieReplyMessage bad = good;
    writable_bytes_of(bad)[bit / 8] ^= std::byte(1 << (bit % 8));
    EXPECT_EQ(consume(bad), CookieError::kForged) << bit;
  }
  EXPECT_EQ(consume(early), CookieError::kForged);  // bound to another mac1
  EXPECT_EQ(consume(issuer.make_reply(known.initiator, bytes_of(message), source, clock.now())),
            CookieError::kForged);  // sealed by somebody else
  sign();
  EXPECT_FALSE(has_mac2());
  EXPECT_EQ(consume(good), std::nullopt);  // the same bytes were signed: the same mac1
  sign();
  EXPECT_TRUE(has_mac2());
}

TEST_F(CookieExchange, OneReplyForEachMessageSent) {  // C-16
  sign();
  ASSERT_EQ(consume(reply()), std::nullopt);
  const CookieReplyMessage second =
      issuer.make_reply(known.responder, bytes_of(message), endpoint("192.0.2.99", 1), clock.now());
  EXPECT_EQ(consume(second), CookieError::kUnexpected);
  sign();
  EXPECT_TRUE(valid_from(source));  // the first one stays in use
}

TEST_F(CookieExchange, ANewCookieReplacesTheOldOne) {
  sign();
  ASSERT_EQ(consume(reply()), std::nullopt);
  clock.advance(121s);
  sign();
  EXPECT_FALSE(has_mac2());
  ASSERT_EQ(consume(reply()), std::nullopt);
  sign();
  EXPECT_TRUE(valid_from(source));
}

}  // namespace
}  // namespace sluice
