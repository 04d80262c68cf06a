#include "control/linux/neighbour_keeper.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/support/manual_clock.h"
#include "tests/unit/linux/sketch.h"

namespace sluice {
namespace {

using namespace test;
using Packet = std::unique_ptr<std::string>;  // movable only, as an mbuf's handle is

Packet packet(std::string_view text) { return std::make_unique<std::string>(text); }

std::string joined(const std::vector<Packet>& packets) {
  std::string text;
  for (const Packet& p : packets) text += *p + " ";
  return text;
}

class NeighbourKeeperTest : public testing::Test {
 protected:
  NeighbourKeeper<Packet>::Held hold(const NeighbourKey& key, std::string_view text) {
    return keeper_.hold(key, packet(text), clock_.now());
  }
  const NeighbourKey a_{ip("10.1.0.1"), kLan}, b_{ip("10.1.0.2"), kLan}, c_{ip("10.1.0.3"), kLan};
  ManualClock clock_;
  NeighbourKeeper<Packet> keeper_{{.packets_per_neighbour = 2, .packets = 5, .neighbours = 3}};
};

TEST_F(NeighbourKeeperTest, AsksOnceAndReleasesInOrder) {
  EXPECT_TRUE(hold(a_, "1").ask);
  EXPECT_FALSE(hold(a_, "2").ask);
  EXPECT_TRUE(hold(b_, "3").ask);
  EXPECT_EQ(joined(keeper_.take(a_)), "1 2 ");
  EXPECT_EQ(joined(keeper_.take(a_)), "");
  EXPECT_EQ(keeper_.packets(), 1u);
  EXPECT_EQ(keeper_.neighbours(), 1u);
  EXPECT_TRUE(hold(a_, "4").ask) << "a new wait is a new question";
}

TEST_F(NeighbourKeeperTest, TheSameAddressOnAnotherInterfaceIsAnotherNeighbour) {
  hold(a_, "1");
  EXPECT_TRUE(hold({a_.address, kWan}, "2").ask);
  EXPECT_EQ(joined(keeper_.take(a_)), "1 ");
}

TEST_F(NeighbourKeeperTest, ANeighboursOldestPacketMakesRoom) {
  hold(a_, "1");
  EXPECT_FALSE(hold(a_, "2").dropped);
  const auto held = hold(a_, "3");
  ASSERT_TRUE(held.dropped);
  EXPECT_EQ(**held.dropped, "1");
  EXPECT_EQ(joined(keeper_.take(a_)), "2 3 ");
}

TEST_F(NeighbourKeeperTest, TotalsAreBounded) {
  hold(a_, "1");
  hold(a_, "2");
  hold(b_, "3");
  hold(b_, "4");
  hold(c_, "5");
  const auto in_known = hold(c_, "6");  // room for the neighbour, none in all
  ASSERT_TRUE(in_known.dropped);
  EXPECT_EQ(**in_known.dropped, "5");
  const auto in_new = hold({ip("10.1.0.4"), kLan}, "7");
  EXPECT_FALSE(in_new.ask);
  ASSERT_TRUE(in_new.dropped);
  EXPECT_EQ(**in_new.dropped, "7");
  EXPECT_EQ(keeper_.packets(), 5u);
  EXPECT_EQ(joined(keeper_.take(c_)), "6 ");
  hold(c_, "8");
  keeper_.take(a_);
  hold({ip("10.1.0.4"), kLan}, "9");
  const auto fourth = hold({ip("10.1.0.5"), kLan}, "10");  // room for packets, none for neighbours
  ASSERT_TRUE(fourth.dropped);
  EXPECT_EQ(**fourth.dropped, "10");
}

TEST_F(NeighbourKeeperTest, GivesUpAfterThreeSecondsOldestFirst) {
  EXPECT_EQ(keeper_.next_deadline(), std::nullopt);
  hold(a_, "1");
  const MonoTime first = clock_.now();
  clock_.advance(std::chrono::seconds(1));
  hold(b_, "2");
  hold(a_, "3");  // does not prolong
  EXPECT_EQ(keeper_.next_deadline(), first + std::chrono::seconds(3));
  clock_.advance(std::chrono::milliseconds(1999));
  EXPECT_TRUE(keeper_.expire(clock_.now()).empty());
  clock_.advance(std::chrono::milliseconds(1));
  const auto given_up = keeper_.expire(clock_.now());
  ASSERT_EQ(given_up.size(), 1u);
  EXPECT_EQ(given_up[0].key, a_);
  EXPECT_EQ(joined(given_up[0].packets), "1 3 ");
  EXPECT_EQ(keeper_.next_deadline(), first + std::chrono::seconds(4));
}

TEST_F(NeighbourKeeperTest, AWaitThatEndedDoesNotShortenTheNext) {
  hold(a_, "1");
  clock_.advance(std::chrono::seconds(2));
  keeper_.take(a_);
  hold(a_, "2");
  clock_.advance(std::chrono::seconds(2));
  EXPECT_TRUE(keeper_.expire(clock_.now()).empty());
  EXPECT_EQ(keeper_.packets(), 1u);
}

}  // namespace
}  // namespace sluice
