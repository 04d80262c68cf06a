// Which rules are in the device's table, and that it is all of them or none.
#include "dataplane/port/nic_steering.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace sluice {
namespace {

// What a device was asked, and what is in its table.
struct Record {
  std::vector<std::string> calls;   // "validate", "create", "destroy", in order
  std::vector<SteeringRule> rules;  // by the number of their creation
  std::vector<bool> there;          // likewise: not destroyed yet
  size_t room = SIZE_MAX;           // rules that fit
  std::function<bool(const SteeringRule&)> invalid = [](const SteeringRule&) { return false; };

  std::vector<SteeringRule> table() const {
    std::vector<SteeringRule> left;
    for (size_t i = 0; i < rules.size(); ++i)
      if (there[i]) left.push_back(rules[i]);
    return left;
  }
  size_t count(const std::string& call) const { return static_cast<size_t>(std::ranges::count(calls, call)); }
};

class RecordingTable final : public RuleTable {
 public:
  explicit RecordingTable(Record& record) : record_(record) {}
  Result<void> validate(const SteeringRule& rule) override {
    record_.calls.push_back("validate");
    if (record_.invalid(rule)) return Error{"net_fake: Not supported"};
    return {};
  }
  Result<rte_flow*> create(const SteeringRule& rule) override {
    record_.calls.push_back("create");
    if (record_.table().size() >= record_.room) return Error{"net_fake: No space left"};
    record_.rules.push_back(rule);
    record_.there.push_back(true);
    return reinterpret_cast<rte_flow*>(record_.rules.size());  // never followed
  }
  void destroy(rte_flow* flow) noexcept override {
    record_.calls.push_back("destroy");
    const size_t number = reinterpret_cast<size_t>(flow) - 1;
    ASSERT_TRUE(number < record_.there.size() && record_.there[number]) << "destroyed twice, or never made";
    record_.there[number] = false;
  }

 private:
  Record& record_;
};

const QueueByIndex kThreeWorkers{{0, 1, 2, 0}};  // a fourth name is worker 0's, too
constexpr size_t kRulesPerPort = 8;              // four names, two families

class NicSteeringTest : public testing::Test {
 protected:
  void follow(std::vector<uint16_t> ports) { steering->follow(kThreeWorkers, ports); }
  Steering::State state() const { return steering->state().state; }

  Record device;
  std::optional<NicSteering> steering{std::in_place, std::make_unique<RecordingTable>(device)};
};

TEST_F(NicSteeringTest, ARuleForEachNameAndFamily) {
  follow({51820});
  EXPECT_EQ(state(), Steering::State::kOn);
  std::vector<SteeringRule> expected;
  for (const Family family : {Family::kIpv4, Family::kIpv6})
    for (uint16_t name = 0; name < 4; ++name)
      expected.push_back({family, 51820, name, 3, static_cast<uint16_t>(name % 3)});
  EXPECT_EQ(device.table(), expected);
}

TEST_F(NicSteeringTest, AllAreValidatedBeforeTheFirstIsMade) {
  follow({51820});
  ASSERT_EQ(device.calls.size(), 2 * kRulesPerPort);
  for (size_t i = 0; i < kRulesPerPort; ++i) EXPECT_EQ(device.calls[i], "validate");
  for (size_t i = kRulesPerPort; i < device.calls.size(); ++i) EXPECT_EQ(device.calls[i], "create");
}

TEST_F(NicSteeringTest, NothingToListenOnNothingToSteer) {
  follow({});
  EXPECT_EQ(state(), Steering::State::kNone);
  EXPECT_TRUE(device.calls.empty());
}

TEST_F(NicSteeringTest, OneThatIsInvalidAndNoneIsMade) {
  device.invalid = [](const SteeringRule& rule) { return rule.family == Family::kIpv6 && rule.index == 3; };
  follow({51820});
  EXPECT_EQ(steering->state(), (Steering{Steering::State::kRefused, "net_fake: Not supported"}));
  EXPECT_EQ(device.count("create"), 0u);
}

TEST_F(NicSteeringTest, OneThatIsRefusedAndThoseThatWereMadeGo) {
  for (size_t room = 0; room < kRulesPerPort; ++room) {
    device = {};
    device.room = room;
    follow({51820});
    EXPECT_EQ(steering->state(), (Steering{Steering::State::kRefused, "net_fake: No space left"}));
    EXPECT_EQ(device.count("create"), room + 1);
    EXPECT_EQ(device.table().size(), 0u);
    follow({});
  }
}

TEST_F(NicSteeringTest, RulesFollowTheListenPorts) {
  follow({51820});
  const std::vector<SteeringRule> first = device.table();
  device.calls.clear();
  follow({51820, 51821});
  EXPECT_EQ(device.count("create"), kRulesPerPort) << "those of the first port stay as they are";
  EXPECT_EQ(device.count("destroy"), 0u);
  EXPECT_EQ(device.table().size(), 2 * kRulesPerPort);
  follow({51821});
  EXPECT_EQ(device.count("create"), kRulesPerPort);
  EXPECT_EQ(device.count("destroy"), kRulesPerPort);
  for (const SteeringRule& rule : device.table()) EXPECT_EQ(rule.listen_port, 51821);
  follow({});
  EXPECT_EQ(state(), Steering::State::kNone);
  EXPECT_TRUE(device.table().empty());
}

TEST_F(NicSteeringTest, APortThatDoesNotFitTakesTheOthersWithIt) {
  device.room = kRulesPerPort + 3;
  follow({51820});
  ASSERT_EQ(state(), Steering::State::kOn);
  follow({51820, 51821});
  EXPECT_EQ(state(), Steering::State::kRefused);
  EXPECT_TRUE(device.table().empty());
  follow({51821});
  EXPECT_EQ(state(), Steering::State::kOn) << "a shorter list is a new attempt";
  EXPECT_EQ(device.table().size(), kRulesPerPort);
}

TEST_F(NicSteeringTest, AMovedPortFitsWhereTheOldOneWas) {
  device.room = kRulesPerPort;
  follow({51820});
  follow({51821});
  EXPECT_EQ(state(), Steering::State::kOn);
  EXPECT_EQ(device.table().size(), kRulesPerPort);
}

TEST_F(NicSteeringTest, OtherQueuesAreOtherRules) {
  follow({51820});
  steering->follow({{1, 0}}, std::vector<uint16_t>{51820});
  ASSERT_EQ(device.table().size(), 4u);
  EXPECT_EQ(device.table()[0], (SteeringRule{Family::kIpv4, 51820, 0, 1, 1}));
}

TEST_F(NicSteeringTest, NothingIsLeftAtTheEnd) {
  follow({51820, 51821});
  steering.reset();
  EXPECT_EQ(device.rules.size(), 2 * kRulesPerPort);
  EXPECT_TRUE(device.table().empty());
}

}  // namespace
}  // namespace sluice
