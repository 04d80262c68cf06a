// The search for the largest packet that passes, against paths of every width.
#include "control/wg/path_search.h"

#include <gtest/gtest.h>

#include "control/wg/path_mtu.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

// A path and the peer at its end. Answers come a millisecond later.
struct Path {
  uint16_t width = 1500;
  bool answers = true;

  MonoTime now{1'000'000'000};
  PathSearch search;
  unsigned probes = 0;
  uint16_t largest = 0;

  void run(Nanoseconds time) {
    for (const MonoTime end = now + time; now < end && !search.deadline().is_never();) {
      if (search.deadline() > now) now = std::min(search.deadline(), end);
      const auto probe = search.evaluate(now);
      if (!probe) continue;
      ++probes;
      largest = std::max(largest, probe->size);
      now = now + 1ms;
      if (answers && probe->size <= width) search.on_answer(probe->sequence, now);
    }
  }
};

TEST(PathSearch, WidePathsTakeTwoProbes) {
  Path path;
  path.search.start(1500, path.now);
  path.run(10s);
  EXPECT_EQ(path.probes, 2u);
  EXPECT_EQ(path.search.limit(), UINT16_MAX);
  EXPECT_TRUE(path.search.settled());
}

TEST(PathSearch, FindsEveryWidth) {
  for (uint16_t route : {uint16_t{1500}, uint16_t{9000}}) {
    for (uint16_t width = 1280; width < route; width = static_cast<uint16_t>(width + 1 + width / 200)) {
      Path path{.width = width};
      path.search.start(route, path.now);
      path.run(60s);
      EXPECT_TRUE(path.search.settled());
      EXPECT_LE(path.search.limit(), width);
      EXPECT_GT(path.search.limit() + PathSearch::kPrecision, width);
      EXPECT_LE(path.largest, route);
      EXPECT_LE(path.probes, 45u);
    }
  }
}

// Data is never sent larger than what passed once the route's width has failed: three seconds after the start.
TEST(PathSearch, FallsBackBeforeItSearches) {
  Path path{.width = 1280};
  path.search.start(1500, path.now);
  path.run(2900ms);
  EXPECT_EQ(path.search.limit(), UINT16_MAX);
  path.run(200ms);
  EXPECT_EQ(path.search.limit(), 1280);
}

TEST(PathSearch, SilenceProvesNothing) {
  Path path{.answers = false};
  path.search.start(1500, path.now);
  path.run(60s);
  EXPECT_EQ(path.search.limit(), UINT16_MAX);
  EXPECT_EQ(path.probes, PathSearch::kTries);
  path.run(600s);
  EXPECT_EQ(path.probes, 2 * PathSearch::kTries);
}

TEST(PathSearch, OneLostProbeIsNoNarrowPath) {
  Path path;
  path.search.start(1500, path.now);
  path.answers = false;
  path.run(1100ms);
  path.answers = true;
  path.run(5s);
  EXPECT_EQ(path.search.limit(), UINT16_MAX);
  EXPECT_EQ(path.probes, 4u);
}

TEST(PathSearch, NoticesThatThePathBecameNarrow) {
  Path path;
  path.search.start(1500, path.now);
  path.run(10s);
  path.width = 1400;
  path.run(120s);
  EXPECT_LE(path.search.limit(), 1400);
  EXPECT_GT(path.search.limit(), 1392);
}

TEST(PathSearch, NoticesThatThePathBecameWide) {
  Path path{.width = 1280};
  path.search.start(1500, path.now);
  path.run(60s);
  EXPECT_EQ(path.search.limit(), 1280);
  path.width = 1500;
  path.run(700s);
  EXPECT_EQ(path.search.limit(), UINT16_MAX);
}

TEST(PathSearch, AnswersToOlderSizesCountForNothing) {
  Path path{.width = 1280};
  path.search.start(1500, path.now);
  const auto base = path.search.evaluate(path.now);
  ASSERT_TRUE(base);
  path.search.on_answer(base->sequence, path.now);
  const auto wide = path.search.evaluate(path.now);
  ASSERT_TRUE(wide);
  EXPECT_EQ(wide->size, 1500);
  path.search.on_answer(base->sequence, path.now);  // again
  path.search.on_answer(static_cast<uint16_t>(wide->sequence + 1), path.now);
  path.run(10s);
  EXPECT_LT(path.search.limit(), 1500);
}

TEST(PathSearch, RoutesOfTheBaseSizeNeedNone) {
  Path path;
  path.search.start(1280, path.now);
  EXPECT_FALSE(path.search.running());
  EXPECT_TRUE(path.search.deadline().is_never());
}

// --- PathMtu ---

TEST(PathMtu, ReportsLowerItForTenMinutes) {
  MonoTime now{1'000'000'000};
  PathMtu path;
  EXPECT_EQ(path.limit(), 0);
  path.route = 1500;
  EXPECT_EQ(path.limit(), 1500);
  EXPECT_FALSE(path.lower(1500, Family::kIpv4, now));  // no news
  EXPECT_TRUE(path.lower(1400, Family::kIpv4, now));
  EXPECT_FALSE(path.lower(1450, Family::kIpv4, now));  // reports never raise it
  EXPECT_EQ(path.limit(), 1400);
  EXPECT_EQ(path.deadline(), now + 10min);
  path.expire(now + 10min - 1ns);
  EXPECT_EQ(path.limit(), 1400);
  path.expire(now + 10min);
  EXPECT_EQ(path.limit(), 1500);
  EXPECT_TRUE(path.deadline().is_never());
}

TEST(PathMtu, NobodyShrinksItBelow1280) {
  const MonoTime now{1'000'000'000};
  PathMtu path;
  path.route = 1500;
  EXPECT_FALSE(path.lower(1279, Family::kIpv6, now));  // RFC 8201, section 4: discarded
  EXPECT_FALSE(path.lower(0, Family::kIpv6, now));
  EXPECT_EQ(path.limit(), 1500);
  EXPECT_TRUE(path.lower(576, Family::kIpv4, now));
  EXPECT_EQ(path.limit(), 1280);
  EXPECT_FALSE(path.lower(0, Family::kIpv4, now));
}

}  // namespace
}  // namespace sluice
