#include "dataplane/pipeline/saturation.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

// A window of 1000 ticks; polls as the test says.
class SaturationTest : public testing::Test {
 protected:
  // Polls of 100 ticks for `ticks`; of each, `busy` ticks go to `rounds` with packets, of which `full` came in full.
  // The rest of the time it polls empty queues.
  bool load(uint64_t ticks, uint64_t busy, unsigned full = 1, uint64_t helped = 0) {
    for (const uint64_t end = now_ + ticks; now_ < end; now_ += 100) {
      if (busy != 0) saturation_.note({now_, now_ + busy, 1, full, helped});
      if (busy != 100) saturation_.note({now_ + busy, now_ + 100, 0, 0, 0});
    }
    return saturation_.saturated();
  }
  Saturation saturation_{1000, {}};
  uint64_t now_ = 5000;
};

TEST_F(SaturationTest, AnIdleWorkerIsNot) { EXPECT_FALSE(load(10'000, 0)); }

TEST_F(SaturationTest, AWorkerThatIsAlwaysBusyWithFullBurstsIs) {
  load(100, 100);  // a window begins
  EXPECT_FALSE(load(900, 100));
  EXPECT_TRUE(load(100, 100));
}

TEST_F(SaturationTest, TimeToSpareMeansNot) {
  EXPECT_FALSE(load(20'000, 90));
  EXPECT_TRUE(load(3000, 96));
}

TEST_F(SaturationTest, SmallBurstsMeanNotHoweverBusy) {
  EXPECT_FALSE(load(20'000, 100, 0));
  EXPECT_TRUE(load(3000, 100, 1));
}

TEST_F(SaturationTest, BetweenTheLevelsNothingChanges) {
  EXPECT_FALSE(load(5000, 88));
  EXPECT_TRUE(load(3000, 100));
  EXPECT_TRUE(load(20'000, 88));
  EXPECT_TRUE(load(20'000, 88, 0)) << "once saturated, smaller bursts show that help arrives";
  EXPECT_FALSE(load(3000, 70));
  EXPECT_FALSE(load(5000, 88));
}

TEST_F(SaturationTest, WhatOthersDoForItCounts) {
  EXPECT_TRUE(load(3000, 100));
  EXPECT_TRUE(load(20'000, 50, 0, 45)) << "without help it would be saturated";
  EXPECT_FALSE(load(3000, 50, 0, 10));
}

TEST_F(SaturationTest, AShortPeakIsNoSaturation) {
  for (int i = 0; i < 20; ++i) {
    EXPECT_FALSE(load(500, 100));
    EXPECT_FALSE(load(1000, 20));
  }
}

}  // namespace
}  // namespace sluice
