// Which queue an index leads to, and whose its session is.
#include "dataplane/worker/index_steering.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/idle_port.h"

namespace sluice {
namespace {

using State = Steering::State;

class FakePort final : public test::IdlePort {
 public:
  FakePort(uint16_t id, uint16_t queues, PortId parent = kNoPort)
      : IdlePort(PortId{id}, "p" + std::to_string(id), queues, parent) {}

  struct Wish {
    std::vector<uint16_t> queues, listen_ports;
    bool operator==(const Wish&) const = default;
  };
  std::vector<Wish> wishes;
  State answer = State::kOn;

  void steer(const QueueByIndex& queues, std::span<const uint16_t> ports) override {
    wishes.push_back({queues.queues, {ports.begin(), ports.end()}});
  }
  Steering steering() const override { return {wishes.empty() ? State::kNone : answer, {}}; }
};

Published listening_on(std::vector<uint16_t> ports) {
  Published root;
  for (const uint16_t port : ports) root.add_listen_port(port);
  return root;
}

struct Ports {
  std::vector<std::unique_ptr<FakePort>> owned;
  std::vector<Port*> pointers;
  FakePort& add(uint16_t queues, PortId parent = kNoPort) {
    owned.push_back(std::make_unique<FakePort>(static_cast<uint16_t>(owned.size()), queues, parent));
    pointers.push_back(owned.back().get());
    return *owned.back();
  }
};

std::vector<unsigned> owners(const IndexSteering& steering, PortId port, uint32_t names) {
  std::vector<unsigned> result;
  for (uint32_t index = 0; index < names; ++index) result.push_back(steering.worker_of(index, port)->value);
  return result;
}

// A port of so many queues behind one of `queues_before`, asked for a listen port: the queue that each of the lowest
// names leads to, and the worker.
struct Division {
  std::vector<uint16_t> queues;
  std::vector<unsigned> workers;
  bool operator==(const Division&) const = default;
};
Division divide(uint16_t workers, uint16_t queues, uint16_t queues_before = 0) {
  Ports ports;
  ports.add(queues_before);
  FakePort& wan = ports.add(queues);
  IndexSteering steering(ports.pointers, workers);
  steering.follow(listening_on({51820}));
  EXPECT_EQ(wan.wishes.size(), 1u);
  EXPECT_EQ(wan.wishes[0].listen_ports, std::vector<uint16_t>{51820});
  return {wan.wishes[0].queues, owners(steering, PortId{1}, 4)};
}

TEST(IndexSteering, ANameIsAWorkersAndLeadsToAQueueThatItPolls) {
  EXPECT_EQ(divide(2, 2), (Division{{0, 1}, {0, 1, 0, 1}})) << "by the lowest bit alone";
}

TEST(IndexSteering, QueuesAreDealtOutOverAllPorts) {
  EXPECT_EQ(divide(2, 2, 1), (Division{{1, 0}, {0, 1, 0, 1}})) << "worker 1 polls its first queue";
}

TEST(IndexSteering, NamesBeyondTheLastWorkerGoRound) {
  EXPECT_EQ(divide(3, 3), (Division{{0, 1, 2, 0}, {0, 1, 2, 0}}));
}

TEST(IndexSteering, AWorkerWithoutAQueueOfThePortLeavesItsSessionsToThoseThatHaveOne) {
  EXPECT_EQ(divide(4, 2), (Division{{0, 1, 0, 1}, {0, 1, 0, 1}}));
}

TEST(IndexSteering, NothingToChooseFrom) {
  Ports ports;
  FakePort& one_queue = ports.add(1);
  IndexSteering(ports.pointers, 2).follow(listening_on({51820}));
  FakePort& two_queues = ports.add(2);
  IndexSteering(ports.pointers, 1).follow(listening_on({51820}));
  EXPECT_TRUE(one_queue.wishes.empty());
  EXPECT_TRUE(two_queues.wishes.empty());
  EXPECT_EQ(IndexSteering(ports.pointers, 2).worker_of(0, PortId{0}), std::nullopt);
}

TEST(IndexSteering, AsksAgainOnlyWhenTheListenPortsAreOthers) {
  Ports ports;
  FakePort& wan = ports.add(2);
  IndexSteering steering(ports.pointers, 2);
  steering.follow(Published{});
  EXPECT_TRUE(wan.wishes.empty());
  steering.follow(listening_on({51820}));
  steering.follow(listening_on({51820}));
  EXPECT_EQ(wan.wishes.size(), 1u);
  steering.follow(listening_on({1, 65535}));
  steering.follow(Published{});
  ASSERT_EQ(wan.wishes.size(), 3u);
  EXPECT_EQ(wan.wishes[1].listen_ports, (std::vector<uint16_t>{1, 65535}));
  EXPECT_TRUE(wan.wishes[2].listen_ports.empty());
}

TEST(IndexSteering, APortThatDoesNotSteerNamesNobody) {
  Ports ports;
  FakePort& wan = ports.add(2);
  ports.add(2);
  IndexSteering steering(ports.pointers, 2);
  for (const State state : {State::kNone, State::kOff, State::kRefused}) {
    wan.answer = state;
    steering.follow(listening_on({static_cast<uint16_t>(100 + wan.wishes.size())}));
    EXPECT_EQ(steering.worker_of(1, PortId{0}), std::nullopt);
    EXPECT_EQ(steering.worker_of(1, PortId{1}), WorkerId{1}) << "each port for itself";
  }
}

TEST(IndexSteering, AVlanIsSteeredWithItsCable) {
  Ports ports;
  ports.add(2);
  ports.add(0, PortId{0});
  IndexSteering steering(ports.pointers, 2);
  steering.follow(listening_on({51820}));
  EXPECT_EQ(owners(steering, PortId{1}, 2), (std::vector{0u, 1u}));
}

}  // namespace
}  // namespace sluice
