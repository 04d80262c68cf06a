// Which queue an index leads to, and whose its session is.
#include "dataplane/worker/index_steering.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace sluice {
namespace {

using State = Steering::State;

class FakePort final : public Port {
 public:
  FakePort(uint16_t id, uint16_t queues, PortId parent = kNoPort)
      : Port(PortId{id}, "p" + std::to_string(id), 0, parent), queues_(queues) {}

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

  uint16_t receive_queues() const noexcept override { return queues_; }
  uint16_t transmit_queues() const noexcept override { return 1; }
  uint16_t receive(uint16_t, rte_mbuf**, uint16_t) noexcept override { return 0; }
  uint16_t transmit(uint16_t, rte_mbuf**, uint16_t) noexcept override { return 0; }
  Wakeup wakeup(uint16_t) noexcept override { return {}; }
  void arm_interrupt(uint16_t, bool) noexcept override {}
  Mac mac() const noexcept override { return {}; }
  uint16_t mtu() const noexcept override { return 1500; }
  bool link_up() const noexcept override { return true; }
  PortCounters counters() const noexcept override { return {}; }
  std::string device() const override { return "fake"; }
  Offloads offloads() const noexcept override { return {}; }

 private:
  uint16_t queues_;
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

TEST(IndexSteering, ANameIsAWorkersAndLeadsToAQueueThatItPolls) {
  Ports ports;
  FakePort& wan = ports.add(2);
  IndexSteering steering(ports.pointers, 2);
  steering.follow(listening_on({51820}));
  EXPECT_EQ(wan.wishes, (std::vector<FakePort::Wish>{{{0, 1}, {51820}}}));
  EXPECT_EQ(owners(steering, PortId{0}, 4), (std::vector{0u, 1u, 0u, 1u})) << "by the lowest bit alone";
}

TEST(IndexSteering, QueuesAreDealtOutOverAllPorts) {
  Ports ports;
  ports.add(1);
  FakePort& wan = ports.add(2);
  IndexSteering steering(ports.pointers, 2);
  steering.follow(listening_on({51820}));
  EXPECT_EQ(wan.wishes, (std::vector<FakePort::Wish>{{{1, 0}, {51820}}})) << "worker 1 polls its first queue";
  EXPECT_EQ(owners(steering, PortId{1}, 2), (std::vector{0u, 1u}));
}

TEST(IndexSteering, NamesBeyondTheLastWorkerGoRound) {
  Ports ports;
  FakePort& wan = ports.add(3);
  IndexSteering steering(ports.pointers, 3);
  steering.follow(listening_on({51820}));
  EXPECT_EQ(wan.wishes[0].queues, (std::vector<uint16_t>{0, 1, 2, 0}));
  EXPECT_EQ(owners(steering, PortId{0}, 4), (std::vector{0u, 1u, 2u, 0u}));
}

TEST(IndexSteering, AWorkerWithoutAQueueOfThePortLeavesItsSessionsToThoseThatHaveOne) {
  Ports ports;
  FakePort& wan = ports.add(2);
  IndexSteering steering(ports.pointers, 4);
  steering.follow(listening_on({51820}));
  EXPECT_EQ(wan.wishes[0].queues, (std::vector<uint16_t>{0, 1, 0, 1}));
  EXPECT_EQ(owners(steering, PortId{0}, 4), (std::vector{0u, 1u, 0u, 1u}));
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
