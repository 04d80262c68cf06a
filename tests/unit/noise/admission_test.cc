#include "control/noise/admission.h"

#include <gtest/gtest.h>

#include "control/noise/rate_limiter.h"
#include "dataplane/crypto/primitives.h"
#include "tests/support/manual_clock.h"
#include "tests/support/seeded_rng.h"
#include "tests/unit/noise/known_handshake.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::bytes_of;
using test::KnownHandshake;
using test::ManualClock;
using test::SeededRng;
using test::writable_bytes_of;

IpAddress address(const std::string& text) { return *parse_address(text); }

IpAddress ipv4_number(uint32_t n) {
  const be32 wire(n);
  return IpAddress::ipv4(&wire);
}

class RateLimiterTest : public testing::Test {
 protected:
  SeededRng rng;
  ManualClock clock;
  RateLimiter limiter{rng};
  bool allow(const std::string& source) { return limiter.allow(address(source), clock.now()); }
};

TEST_F(RateLimiterTest, LinuxSelfTestSequence) {  // C-09
  const struct {
    Nanoseconds wait;
    bool allowed;
  } steps[] = {{0ms, true},  {0ms, true},  {0ms, true},   {0ms, true}, {0ms, true}, {0ms, false},
               {50ms, true}, {0ms, false}, {100ms, true}, {0ms, true}, {0ms, false}};
  for (const char* source : {"192.0.2.1", "2001:db8::1"}) {
    size_t i = 0;
    for (const auto& step : steps) {
      clock.advance(step.wait);
      EXPECT_EQ(allow(source), step.allowed) << source << " step " << i++;
    }
  }
}

TEST_F(RateLimiterTest, TwentyASecondAfterTheBurst) {  // C-07
  int allowed = 0;
  for (int i = 0; i < 15; ++i) allowed += allow("192.0.2.1");
  EXPECT_EQ(allowed, 5);
  allowed = 0;
  for (int i = 0; i < 1000; ++i) {
    clock.advance(1ms);
    allowed += allow("192.0.2.1");
  }
  EXPECT_EQ(allowed, 20);
}

TEST_F(RateLimiterTest, CreditIsCappedAtTheBurst) {     // C-09
  for (const Nanoseconds wait : {0ms, 250ms, 900ms}) {  // too short to be forgotten
    clock.advance(wait);
    int allowed = 0;
    while (allow("192.0.2.1")) ++allowed;
    EXPECT_EQ(allowed, 5);
  }
}

TEST_F(RateLimiterTest, SourcesAreIpv4AddressesAndIpv6Networks) {  // C-08
  const auto exhaust = [this](const std::string& source) {
    int allowed = 0;
    while (allow(source)) ++allowed;
    return allowed;
  };
  EXPECT_EQ(exhaust("192.0.2.1"), 5);
  EXPECT_EQ(exhaust("192.0.2.2"), 5);
  EXPECT_EQ(exhaust("2001:db8:0:1::1"), 5);
  EXPECT_EQ(exhaust("2001:db8:0:1:ffff::2"), 0);
  EXPECT_EQ(exhaust("2001:db8:0:2::1"), 5);
  EXPECT_EQ(exhaust("::192.0.2.1"), 5);  // another family, whatever the bytes
  EXPECT_EQ(exhaust("c000:201::"), 5);
  EXPECT_EQ(limiter.sources(), 6u);
}

TEST_F(RateLimiterTest, HoldsAtMost65536Sources) {  // C-10, M-19
  for (uint32_t i = 0; i < RateLimiter::kMaxSources; ++i) ASSERT_TRUE(limiter.allow(ipv4_number(i), clock.now())) << i;
  EXPECT_FALSE(allow("10.0.0.1"));
  EXPECT_FALSE(allow("2001:db8::1"));
  EXPECT_TRUE(limiter.allow(ipv4_number(7), clock.now()));  // a known one is still served
  clock.advance(1s);
  EXPECT_FALSE(allow("10.0.0.1"));
  clock.advance(1ns);
  EXPECT_TRUE(allow("10.0.0.1"));
  EXPECT_TRUE(allow("2001:db8::1"));
  EXPECT_LE(limiter.sources(), RateLimiter::kMaxSources);
  limiter.collect(clock.now());
  EXPECT_EQ(limiter.sources(), 2u);
}

TEST_F(RateLimiterTest, FloodOfNewSourcesStaysBounded) {  // C-10, M-19
  int allowed = 0;
  for (uint32_t i = 0; i < 1'000'000; ++i) {  // 100,000 new sources a second
    clock.advance(10us);
    allowed += limiter.allow(ipv4_number(i), clock.now());
    ASSERT_LE(limiter.sources(), RateLimiter::kMaxSources);
  }
  EXPECT_GE(allowed, 5 * 65536);  // room comes back as they idle out
  clock.advance(1s + 1ns);
  limiter.collect(clock.now());
  EXPECT_EQ(limiter.sources(), 0u);
}

TEST_F(RateLimiterTest, ForgettingAnIdleSourceChangesNoAnswer) {
  RateLimiter never_collected(rng);
  for (int i = 0; i < 2000; ++i) {
    clock.advance(std::chrono::milliseconds(rng.below(i % 10 == 0 ? 2500 : 40)));
    const IpAddress source = ipv4_number(rng.below(3));
    limiter.collect(clock.now());
    ASSERT_EQ(limiter.allow(source, clock.now()), never_collected.allow(source, clock.now())) << i;
  }
}

TEST(LoadMonitor, LastsOneSecondAfterTheLastObservation) {  // C-06
  ManualClock clock;
  LoadMonitor load(512);
  EXPECT_FALSE(load.under_load(clock.now()));
  load.observe(511, clock.now());
  EXPECT_FALSE(load.under_load(clock.now()));
  load.observe(512, clock.now());
  EXPECT_TRUE(load.under_load(clock.now()));
  clock.advance(600ms);
  load.observe(600, clock.now());
  load.observe(0, clock.now());
  clock.advance(1s - 1ns);
  EXPECT_TRUE(load.under_load(clock.now()));
  clock.advance(1ns);
  EXPECT_FALSE(load.under_load(clock.now()));
}

class AdmissionTest : public testing::Test {
 protected:
  KnownHandshake known = KnownHandshake::load("psk");
  SeededRng rng;
  ManualClock clock;
  Admission admission{rng, 512};
  CookieJar jar;
  const Endpoint source{address("192.0.2.33"), 51820, 0};
  InitiationMessage message = known.initiation;

  Verdict judge(const Endpoint& from) { return admission.judge(known.responder, bytes_of(message), from, clock.now()); }
  void overload() { admission.observe_load(512, clock.now()); }
  void sign() { jar.add_macs(writable_bytes_of(message), known.responder_seen, clock.now()); }
  void sign_with_cookie_for(const Endpoint& from) {
    sign();
    ASSERT_EQ(jar.consume(admission.cookie_reply(known.responder, bytes_of(message), from, clock.now()),
                          known.responder_seen, clock.now()),
              std::nullopt);
    sign();
  }
};

TEST_F(AdmissionTest, WithoutLoadOnlyMac1Counts) {  // H-05, H-14, C-06
  EXPECT_EQ(judge(source), Verdict::kAccept);
  message.mac2.fill(std::byte{0xaa});
  EXPECT_EQ(judge(source), Verdict::kAccept);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(judge(source), Verdict::kAccept);  // no bucket either
  message.mac1[0] ^= std::byte{1};
  EXPECT_EQ(judge(source), Verdict::kDropBadMac1);
}

TEST_F(AdmissionTest, UnderLoadACookieIsAskedFor) {  // C-01, C-03, C-04, C-05, C-06
  overload();
  EXPECT_EQ(judge(source), Verdict::kSendCookie);
  message.mac2.fill(std::byte{0xaa});
  EXPECT_EQ(judge(source), Verdict::kSendCookie);
  sign_with_cookie_for(source);
  EXPECT_EQ(judge(source), Verdict::kAccept);
  EXPECT_EQ(judge({source.address, 51821, 0}), Verdict::kSendCookie);
  EXPECT_EQ(judge({address("192.0.2.34"), 51820, 0}), Verdict::kSendCookie);
  message.mac1[0] ^= std::byte{1};
  EXPECT_EQ(judge(source), Verdict::kDropBadMac1);  // no cookie for those who do not know our key
  message = known.initiation;
  clock.advance(1s - 1ns);
  EXPECT_EQ(judge(source), Verdict::kSendCookie);
  clock.advance(1ns);
  EXPECT_EQ(judge(source), Verdict::kAccept);
}

TEST_F(AdmissionTest, ResponsesAreJudgedAlike) {  // C-02, I-11
  const ConstBytes response = bytes_of(known.response);
  const auto judge_response = [&] { return admission.judge(known.initiator, response, source, clock.now()); };
  EXPECT_EQ(judge_response(), Verdict::kAccept);
  overload();
  EXPECT_EQ(judge_response(), Verdict::kSendCookie);
  const CookieReplyMessage reply = admission.cookie_reply(known.initiator, response, source, clock.now());
  EXPECT_EQ(reply.receiver_index, known.response.sender_index);
  EXPECT_EQ(admission.judge(known.responder, response, source, clock.now()), Verdict::kDropBadMac1);
}

TEST_F(AdmissionTest, ValidCookiesAreRateLimitedWithoutAnswer) {  // C-07, C-08
  sign_with_cookie_for(source);
  overload();
  int accepted = 0, dropped = 0;
  for (int i = 0; i < 15; ++i) {
    const Verdict verdict = judge(source);
    accepted += verdict == Verdict::kAccept;
    dropped += verdict == Verdict::kDropRateLimited;
  }
  EXPECT_EQ(accepted, 5);
  EXPECT_EQ(dropped, 10);
  const Endpoint other{address("192.0.2.34"), 51820, 0};
  sign_with_cookie_for(other);
  EXPECT_EQ(judge(other), Verdict::kAccept);
}

TEST_F(AdmissionTest, ACookieOfTheLastSecretIsAnsweredWithANewOne) {  // C-11
  sign_with_cookie_for(source);
  clock.advance(121s);
  overload();
  EXPECT_EQ(judge(source), Verdict::kSendCookie);
}

}  // namespace
}  // namespace sluice
