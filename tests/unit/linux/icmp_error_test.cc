#include "control/linux/icmp_error.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/hex.h"
#include "tests/support/manual_clock.h"
#include "tests/support/vectors.h"
#include "tests/unit/linux/sketch.h"

namespace sluice {
namespace {

using namespace test;

IcmpError error_named(const std::string& name) {
  if (name == "time_exceeded") return IcmpError::kTimeExceeded;
  if (name == "no_route") return IcmpError::kNoRoute;
  if (name == "host_unreachable") return IcmpError::kHostUnreachable;
  if (name == "prohibited") return IcmpError::kProhibited;
  if (name == "too_big") return IcmpError::kTooBig;
  throw std::invalid_argument(name);
}

// scapy's packets, byte by byte, and its offending packets that must stay unanswered.
TEST(IcmpErrorTest, IsWhatScapySays) {
  const auto vectors = load_vectors("icmp_errors.json");
  size_t answered = 0, refused = 0;
  for (const auto& c : vectors["cases"]) {
    const auto offending = from_hex(c["offending"].get<std::string>());
    const IcmpErrorRequest request{
        .error = error_named(c["error"]), .mtu = c["mtu"], .source = ip(c["source"].get<std::string>())};
    const auto made = make_icmp_error(offending, request);
    if (c["expected"].is_null()) {
      EXPECT_EQ(made, std::nullopt) << c["name"];
      ++refused;
    } else {
      EXPECT_EQ(made, from_hex(c["expected"].get<std::string>())) << c["name"];
      ++answered;
    }
  }
  EXPECT_GE(answered, 20u);
  EXPECT_GE(refused, 20u);
}

// However short a packet was cut: an answer or none, never a byte beyond (the sanitizers watch).
TEST(IcmpErrorTest, EveryTruncationIsSafe) {
  const auto vectors = load_vectors("icmp_errors.json");
  for (const auto& c : vectors["cases"]) {
    const auto whole = from_hex(c["offending"].get<std::string>());
    for (size_t size = 0; size < std::min<size_t>(whole.size(), 120); ++size) {
      const std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
      const auto made =
          make_icmp_error(cut, {.error = error_named(c["error"]), .source = ip(c["source"].get<std::string>())});
      if (size < 20) {
        EXPECT_EQ(made, std::nullopt) << c["name"] << " cut to " << size;
      }
    }
  }
}

TEST(IcmpErrorTest, NeedsASourceOfThePacketsFamily) {
  const auto vectors = load_vectors("icmp_errors.json");
  const auto offending = from_hex(vectors["cases"][0]["offending"].get<std::string>());
  EXPECT_NE(make_icmp_error(offending, {.source = ip("198.51.100.10")}), std::nullopt);
  EXPECT_EQ(make_icmp_error(offending, {.source = {}}), std::nullopt);
  EXPECT_EQ(make_icmp_error(offending, {.source = ip("2001:db8::1")}), std::nullopt);
}

TEST(TokenBucketTest, GivesTheBurstThenTheRate) {
  ManualClock clock;
  TokenBucket bucket(10, 3);
  const auto taken = [&](int tries) {
    int n = 0;
    for (int i = 0; i < tries; ++i) n += bucket.take(clock.now());
    return n;
  };
  EXPECT_EQ(taken(10), 3);
  clock.advance(std::chrono::milliseconds(99));
  EXPECT_EQ(taken(1), 0);
  clock.advance(std::chrono::milliseconds(1));
  EXPECT_EQ(taken(2), 1);
  clock.advance(std::chrono::milliseconds(250));
  EXPECT_EQ(taken(5), 2);
  clock.advance(std::chrono::milliseconds(50));
  EXPECT_EQ(taken(5), 1) << "the half token of before was kept";
  clock.advance(std::chrono::hours(24 * 365));
  EXPECT_EQ(taken(10), 3) << "never more than the burst";
}

TEST(TokenBucketTest, AClockThatStepsBackGivesNothing) {
  TokenBucket bucket(1000, 1);
  EXPECT_TRUE(bucket.take(MonoTime{5'000'000'000}));
  EXPECT_FALSE(bucket.take(MonoTime{4'000'000'000}));
}

}  // namespace
}  // namespace sluice
