#include "dataplane/worker/worker.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <thread>
#include <vector>

#include "dataplane/pipeline/packet.h"
#include "dataplane/port/vlan.h"
#include "dataplane/worker/dataplane.h"
#include "tests/support/eal_fixture.h"
#include "tests/support/idle_port.h"
#include "tests/support/net_namespace.h"
#include "tests/support/raw_interface.h"
#include "tests/support/seeded_rng.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;
using test::NetNamespace;
using test::RawInterface;
using test::RingWire;

// No port is published in these tests: the worker drops every frame as port_gone, which shows who received it.
const std::vector<std::byte> kFrame(60, std::byte{0x12});

bool eventually(const std::function<bool()>& holds, std::chrono::milliseconds within = 5s) {
  const auto deadline = Steady::now() + within;
  while (!holds()) {
    if (Steady::now() > deadline) return false;
    std::this_thread::sleep_for(50us);
  }
  return true;
}

std::chrono::nanoseconds cpu_time(const std::function<void()>& while_it_runs) {
  timespec before, after;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  while_it_runs();
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  return std::chrono::seconds(after.tv_sec - before.tv_sec) + std::chrono::nanoseconds(after.tv_nsec - before.tv_nsec);
}

// Data planes over ring ports: port 0 and port 1 have one receive queue each unless said otherwise.
class WorkerTest : public testing::Test {
 protected:
  void make(const std::vector<unsigned>& cores, IdlePolicy idle = IdlePolicy::kAdaptive, uint16_t queues = 1) {
    PacketPool pool = test::small_pool(8191, kPacketMetaSize);
    buffers_ = pool.get();
    available_ = rte_mempool_avail_count(buffers_);
    std::vector<std::unique_ptr<Port>> ports;
    for (uint16_t i = 0; i < 2; ++i) {
      wires_.push_back(std::make_unique<RingWire>("worker" + std::to_string(i), queues, pool.get()));
      ports.push_back(wires_[i]->make_port(
          PortId{i}, {.name = "p" + std::to_string(i), .workers = static_cast<uint16_t>(cores.size())}));
    }
    build(cores, idle, std::move(pool), std::move(ports));
  }
  void build(const std::vector<unsigned>& cores, IdlePolicy idle, PacketPool pool,
             std::vector<std::unique_ptr<Port>> ports) {
    Dataplane::Options options;
    options.worker_cores = cores;
    options.idle = idle;
    options.max_peers = 16;
    options.session_slots = 64;
    auto made = Dataplane::create(options, std::move(pool), std::move(ports), clock_, rng_);
    ASSERT_TRUE(made) << made.error().what;
    plane_ = std::move(*made);
  }

  Worker& worker(size_t i = 0) { return *plane_->workers()[i]; }
  uint64_t received(size_t i = 0) { return worker(i).drops().get(Drop::port_gone); }
  uint64_t sleeps(size_t i = 0) { return worker(i).stats().sleeps; }
  rte_mbuf* packet(const std::vector<std::byte>& bytes = kFrame) {
    rte_mbuf* m = rte_pktmbuf_alloc(plane_->pool());
    std::memcpy(rte_pktmbuf_append(m, static_cast<uint16_t>(bytes.size())), bytes.data(), bytes.size());
    return m;
  }

  SystemClock clock_;
  test::SeededRng rng_{1};
  rte_mempool* buffers_ = nullptr;
  unsigned available_ = 0;
  std::vector<std::unique_ptr<RingWire>> wires_;  // outlive the plane's ports, but their rings' packets go first
  std::unique_ptr<Dataplane> plane_;
};

TEST_F(WorkerTest, PollsItsQueuesAndCountsTheStages) {
  make({0});
  EXPECT_EQ(worker().poll_once(), 0u);
  ASSERT_TRUE(wires_[0]->send(kFrame));
  ASSERT_TRUE(wires_[1]->send(kFrame));
  EXPECT_EQ(worker().poll_once(), 2u);
  EXPECT_EQ(received(), 2u);
  EXPECT_EQ(plane_->drops(Drop::port_gone), 2u);
  const WorkerStats& stats = worker().stats();
  EXPECT_EQ(stats.stages[static_cast<size_t>(Stage::receive)].packets, 2u);
  EXPECT_EQ(stats.stages[static_cast<size_t>(Stage::receive)].calls, 2u);
  EXPECT_EQ(stats.polls, 2u);
  EXPECT_EQ(stats.empty_polls, 1u);
  EXPECT_GT(stats.busy_cycles, 0u);
}

// Their cycles count for the fifteen that follow; packets are all counted.
TEST_F(WorkerTest, TimesTheStagesOfOnePollInSixteen) {
  make({0});
  const StageCounters& receive = worker().stats().stages[static_cast<size_t>(Stage::receive)];
  const auto poll_with_a_packet = [&] {
    EXPECT_TRUE(wires_[0]->send(kFrame));
    EXPECT_EQ(worker().poll_once(), 1u);
  };
  poll_with_a_packet();
  const uint64_t first = receive.cycles;
  EXPECT_GT(first, 0u);
  EXPECT_EQ(first % 16, 0u);
  for (int i = 1; i < 16; ++i) poll_with_a_packet();
  EXPECT_EQ(receive.cycles, first);
  poll_with_a_packet();
  EXPECT_GT(receive.cycles, first);
  EXPECT_EQ(receive.packets, 17u);
}

TEST_F(WorkerTest, TransmitsWhatControlPosts) {
  make({0});
  for (const uint16_t port : {uint16_t{1}, uint16_t{0}}) {
    ASSERT_TRUE(plane_->mailbox(WorkerId{0})
                    .post_command({.kind = CommandKind::kTransmit, .port = PortId{port}, .packet = packet()}));
  }
  EXPECT_GE(worker().poll_once(), 2u);
  EXPECT_EQ(wires_[0]->receive(), kFrame);
  EXPECT_EQ(wires_[1]->receive(), kFrame);
  ASSERT_TRUE(plane_->mailbox(WorkerId{0})
                  .post_command({.kind = CommandKind::kTransmit, .port = PortId{7}, .packet = packet()}));
  worker().poll_once();
  EXPECT_EQ(plane_->drops(Drop::port_gone), 1u);
}

TEST_F(WorkerTest, APortThatIsLetGoIsNeitherPolledNorSentTo) {
  make({0});
  ASSERT_TRUE(wires_[0]->send(kFrame));
  ASSERT_TRUE(plane_->let_go(PortId{0}));
  EXPECT_FALSE(plane_->ports()[0]->link_up());
  ASSERT_TRUE(wires_[1]->send(kFrame));
  for (const uint16_t port : {uint16_t{1}, uint16_t{0}}) {
    ASSERT_TRUE(plane_->mailbox(WorkerId{0})
                    .post_command({.kind = CommandKind::kTransmit, .port = PortId{port}, .packet = packet()}));
  }
  worker().poll_once();
  EXPECT_EQ(worker().stats().stages[static_cast<size_t>(Stage::receive)].packets, 1u) << "from the other port";
  EXPECT_EQ(wires_[1]->receive(), kFrame);
  EXPECT_EQ(received(), 1u + 1u) << "what came in by port 1, and what was for port 0";
}

TEST_F(WorkerTest, APortsVlansGoWithIt) {
  PacketPool pool = test::small_pool(8191, kPacketMetaSize);
  wires_.push_back(std::make_unique<RingWire>("trunk", 1, pool.get()));
  std::vector<std::unique_ptr<Port>> ports(2);
  ports[1] = wires_[0]->make_port(PortId{1}, {.name = "trunk"});
  ports[0] = make_vlan_port(PortId{0}, {.name = "office", .vlan = 20}, *ports[1]);
  build({0}, IdlePolicy::kAdaptive, std::move(pool), std::move(ports));
  ASSERT_TRUE(plane_->let_go(PortId{1}));
  EXPECT_FALSE(plane_->ports()[0]->link_up());
  ASSERT_TRUE(plane_->mailbox(WorkerId{0})
                  .post_command({.kind = CommandKind::kTransmit, .port = PortId{0}, .packet = packet()}));
  worker().poll_once();
  EXPECT_EQ(plane_->drops(Drop::port_gone), 1u);
}

TEST_F(WorkerTest, QueuesAreDealtOutOverTheWorkers) {
  make({0, 1});
  ASSERT_TRUE(wires_[0]->send(kFrame));
  ASSERT_TRUE(wires_[1]->send(kFrame));
  EXPECT_EQ(worker(0).poll_once(), 1u);
  EXPECT_EQ(worker(1).poll_once(), 1u);
  EXPECT_EQ(received(0), 1u);
  EXPECT_EQ(received(1), 1u);
}

TEST_F(WorkerTest, EveryQueueHasExactlyOneWorker) {
  make({0, 1}, IdlePolicy::kPoll, 2);
  for (uint16_t queue = 0; queue < 2; ++queue) {
    for (auto& wire : wires_) ASSERT_TRUE(wire->send(kFrame, queue));
  }
  EXPECT_EQ(worker(0).poll_once(), 2u);
  EXPECT_EQ(worker(1).poll_once(), 2u);
  EXPECT_EQ(worker(0).poll_once() + worker(1).poll_once(), 0u);
}

TEST_F(WorkerTest, GivesEveryBufferBack) {
  make({0});
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(wires_[0]->send(kFrame));
  while (worker().poll_once() != 0) {
  }
  EXPECT_EQ(received(), 300u);
  EXPECT_EQ(rte_mempool_avail_count(buffers_), available_);
}

class HandoffTest : public WorkerTest {
 protected:
  void SetUp() override {
    make({0, 1});
    handoff_.ring = rte_ring_create("handoff", 128, SOCKET_ID_ANY, RING_F_SC_DEQ | RING_F_EXACT_SZ);
    ASSERT_NE(handoff_.ring, nullptr);
    peer_ = plane_->peers().make();
    PeerRest& rest = plane_->peers().rest_of(*peer_);
    rest.worker_count = 2;
    rest.handoff = std::make_unique<std::atomic<HandoffRing*>[]>(2);
    rest.handoff[1] = &handoff_;
    plane_->peers().publish(*peer_);
  }
  void TearDown() override { rte_ring_free(handoff_.ring); }

  // As a stage of worker 0 does it.
  void hand_over(unsigned packets) {
    for (unsigned i = 0; i < packets; ++i) ASSERT_EQ(rte_ring_mp_enqueue(handoff_.ring, packet()), 0);
    if (!handoff_.scheduled.exchange(true)) {
      ASSERT_TRUE(plane_->mailbox(WorkerId{1}).post_ready(peer_->id));
    }
  }
  HandoffRing handoff_;
  Peer* peer_ = nullptr;
};

TEST_F(HandoffTest, TheOwnerTakesWhatOthersHandedToIt) {
  hand_over(100);
  worker(0).poll_once();
  EXPECT_EQ(rte_ring_count(handoff_.ring), 100u);
  EXPECT_GE(worker(1).poll_once(), 100u);
  EXPECT_EQ(rte_ring_count(handoff_.ring), 0u);
  EXPECT_FALSE(handoff_.scheduled);
  EXPECT_EQ(worker(1).drops().get(Drop::handoff_stale), 100u);  // no session has their index
  hand_over(1);
  EXPECT_GE(worker(1).poll_once(), 1u);
  EXPECT_EQ(worker(1).drops().get(Drop::handoff_stale), 101u);
}

TEST_F(HandoffTest, APeerThatIsGoneIsSkipped) {
  hand_over(2);
  plane_->peers().withdraw(peer_->id);
  worker(1).poll_once();
  EXPECT_EQ(worker(1).drops().get(Drop::handoff_stale), 0u);
  void* left;
  unsigned count = 0;
  for (; rte_ring_dequeue(handoff_.ring, &left) == 0; ++count) rte_pktmbuf_free(static_cast<rte_mbuf*>(left));
  EXPECT_EQ(count, 2u);
}

TEST_F(WorkerTest, RetiredObjectsWaitForEveryWorkerThatPolls) {
  make({0, 1});
  int freed = 0;
  plane_->retire([&] { ++freed; });
  plane_->collect();
  EXPECT_EQ(freed, 1) << "no worker has polled yet: nobody can hold it";

  worker(0).poll_once();
  worker(1).poll_once();
  plane_->retire([&] { ++freed; });
  plane_->collect();
  EXPECT_EQ(freed, 1);
  worker(0).poll_once();
  plane_->collect();
  EXPECT_EQ(freed, 1) << "worker 1 has not passed";
  worker(1).poll_once();
  EXPECT_EQ(freed, 1) << "only collect() frees";
  plane_->collect();
  EXPECT_EQ(freed, 2);
}

TEST_F(WorkerTest, WhatIsRetiredWhileFreeingIsFreedLater) {
  make({0});
  int freed = 0;
  plane_->retire([&] { plane_->retire([&] { ++freed; }); });
  plane_->collect();
  plane_->collect();
  EXPECT_EQ(freed, 1);
  plane_->retire([&] { ++freed; });
  plane_.reset();
  EXPECT_EQ(freed, 2);
}

TEST_F(WorkerTest, PublishSwapsTheRoot) {
  make({0});
  EXPECT_TRUE(plane_->published().ports.empty());
  auto root = std::make_unique<Published>();
  root->ports.push_back({.id = PortId{0}, .mac = plane_->ports()[0]->mac(), .mtu = 1500});
  plane_->publish(std::move(root));
  EXPECT_EQ(plane_->published().ports.size(), 1u);
  ASSERT_TRUE(wires_[0]->send(kFrame));
  worker().poll_once();
  EXPECT_EQ(received(), 0u);
  EXPECT_EQ(plane_->drops(Drop::not_for_us), 1u);
}

TEST_F(WorkerTest, NamesAnEngineThatDoesNotExist) {
  Dataplane::Options options;
  options.worker_cores = {0};
  options.engine = "enigma";
  options.session_slots = 64;
  options.max_peers = 16;
  const auto made = Dataplane::create(options, test::small_pool(1023, kPacketMetaSize), {}, clock_, rng_);
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().what.find("engine \"enigma\""), std::string::npos) << made.error().what;
}

TEST_F(WorkerTest, StartNamesACoreThatDpdkWasStartedWithout) {
  make({1000});
  const Result<void> started = plane_->start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().what, "worker 0 on core 1000: DPDK was started without this core");
}

// From here on with a worker on its own lcore.

TEST_F(WorkerTest, SleepsWhenIdleAndTheBellWakesIt) {
  make({test::worker_cores()[0]});
  ASSERT_TRUE(plane_->start());
  for (int i = 0; i < 20; ++i) {
    const uint64_t slept = sleeps();
    ASSERT_TRUE(eventually([&] { return sleeps() > slept; }));
    ASSERT_TRUE(plane_->mailbox(WorkerId{0})
                    .post_command({.kind = CommandKind::kTransmit, .port = PortId{0}, .packet = packet()}));
    std::optional<std::vector<std::byte>> frame;
    ASSERT_TRUE(eventually([&] { return (frame = wires_[0]->receive()).has_value(); }));
    EXPECT_EQ(frame, kFrame);
  }
}

TEST_F(WorkerTest, WithoutQueuesTheBellAloneWakesItAndStopIsPrompt) {
  build({test::worker_cores()[0]}, IdlePolicy::kAdaptive, test::small_pool(1023, kPacketMetaSize), {});
  ASSERT_TRUE(plane_->start());
  ASSERT_TRUE(eventually([&] { return sleeps() > 0; }));
  for (int i = 0; i < 10; ++i) {
    const auto asked = Steady::now();
    plane_->stop();
    EXPECT_LT(Steady::now() - asked, 50ms) << "its sleep is 100 ms long";
    ASSERT_TRUE(plane_->start());
  }
}

TEST_F(WorkerTest, AWorkerThatSleepsHoldsNothingUp) {
  build({test::worker_cores()[0]}, IdlePolicy::kAdaptive, test::small_pool(1023, kPacketMetaSize), {});
  ASSERT_TRUE(plane_->start());
  ASSERT_TRUE(eventually([&] { return sleeps() > 0; }));
  int at_once = 0;
  for (int i = 0; i < 20; ++i) {
    bool freed = false;
    plane_->retire([&] { freed = true; });
    at_once += eventually([&] { return plane_->collect(), freed; }, 5ms);
    ASSERT_TRUE(eventually([&] { return plane_->collect(), freed; }));
  }
  EXPECT_GT(at_once, 15) << "its sleep is 100 ms long";
}

TEST_F(WorkerTest, TheOtherPortsGoOnWhenOneIsLetGo) {
  make({test::worker_cores()[0]});
  ASSERT_TRUE(plane_->start());
  ASSERT_TRUE(wires_[1]->send(kFrame));
  ASSERT_TRUE(eventually([&] { return received() == 1; }));
  ASSERT_TRUE(plane_->let_go(PortId{0}));
  ASSERT_TRUE(wires_[1]->send(kFrame));
  ASSERT_TRUE(eventually([&] { return received() == 2; }));
}

TEST_F(WorkerTest, NeverSleepsWhenToldToPoll) {
  make({test::worker_cores()[0]}, IdlePolicy::kPoll);
  ASSERT_TRUE(plane_->start());
  ASSERT_TRUE(eventually([&] { return worker().stats().empty_polls > 100'000; }));
  EXPECT_EQ(sleeps(), 0u);
}

// What is retired is overwritten when it is freed: a worker that still read it would find a port and drop the frame
// under another name (and AddressSanitizer would find it reading freed memory).
TEST_F(WorkerTest, PublishesUnderTrafficAndFreesEveryRoot) {
  make({test::worker_cores()[0]});
  ASSERT_TRUE(plane_->start());
  int freed = 0;
  constexpr int kRoots = 3000;
  uint64_t sent = 0;
  for (int i = 0; i < kRoots; ++i) {
    sent += wires_[0]->send(kFrame);
    plane_->publish(std::make_unique<Published>());
    plane_->retire([&] { ++freed; });
    plane_->collect();
  }
  EXPECT_TRUE(eventually([&] {
    plane_->collect();
    return freed == kRoots;
  })) << freed;
  EXPECT_TRUE(eventually([&] { return received() == sent; })) << received() << " of " << sent;
}

// What its descriptor announces once it gives in two bursts, neither of them full.
class TwoBurstsPort final : public test::IdlePort {
 public:
  explicit TwoBurstsPort(rte_mempool* pool) : IdlePort(PortId{0}, "two-bursts", 1), pool_(pool) {}
  ~TwoBurstsPort() override { close(announced_); }
  void announce() { ASSERT_EQ(eventfd_write(announced_, 1), 0); }

  uint16_t receive(uint16_t, rte_mbuf** packets, uint16_t) noexcept override {
    eventfd_t n;
    if (eventfd_read(announced_, &n) == 0) left_ = 2;
    if (left_ == 0) return 0;
    --left_;
    for (uint16_t i = 0; i < kEach; ++i) {
      packets[i] = rte_pktmbuf_alloc(pool_);
      std::memcpy(rte_pktmbuf_append(packets[i], static_cast<uint16_t>(kFrame.size())), kFrame.data(), kFrame.size());
    }
    return kEach;
  }
  bool has_more(uint16_t) const noexcept override { return left_ != 0; }
  Wakeup wakeup(uint16_t) noexcept override { return {Wakeup::Kind::kFd, announced_}; }

  static constexpr uint16_t kEach = 40;

 private:
  rte_mempool* const pool_;
  const int announced_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  unsigned left_ = 0;
};

TEST_F(WorkerTest, DoesNotSleepOverWhatAPortHasAtHand) {
  PacketPool pool = test::small_pool(1023, kPacketMetaSize);
  auto made = std::make_unique<TwoBurstsPort>(pool.get());
  TwoBurstsPort& port = *made;
  std::vector<std::unique_ptr<Port>> ports;
  ports.push_back(std::move(made));
  build({test::worker_cores()[0]}, IdlePolicy::kSleep, std::move(pool), std::move(ports));
  ASSERT_TRUE(plane_->start());
  for (uint64_t n = 1; n <= 5; ++n) {
    const uint64_t slept = sleeps();
    ASSERT_TRUE(eventually([&] { return sleeps() > slept; }));
    port.announce();
    ASSERT_TRUE(eventually([&] { return received() == n * 2 * TwoBurstsPort::kEach; })) << received();
  }
}

TEST_F(WorkerTest, AnIdleWorkerOnRingPortsCostsLittle) {
  make({test::worker_cores()[0]});
  ASSERT_TRUE(plane_->start());
  ASSERT_TRUE(eventually([&] { return sleeps() > 100; }));
  const auto cpu = cpu_time([] { std::this_thread::sleep_for(500ms); });
  std::printf("  idle on ports that cannot wake it: %.2f %% of a core\n", static_cast<double>(cpu.count()) / 5e6);
  EXPECT_LT(cpu, 100ms);
}

class VethWorkerTest : public WorkerTest {
 protected:
  void SetUp() override {
    if (!ns_.why_not().empty()) GTEST_SKIP() << "needs a network namespace: " << ns_.why_not();
    ASSERT_TRUE(
        ns_.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1 && "
                "ip link add va type veth peer name vb && ip link set va up"));
  }
  void make_over_veth(const std::vector<unsigned>& cores) {
    PacketPool pool = test::small_pool(8191, kPacketMetaSize);
    std::vector<std::unique_ptr<Port>> ports;
    auto port = make_ethdev_port(
        PortId{0}, {.name = "wan", .device = "af_packet:vb", .workers = static_cast<uint16_t>(cores.size())},
        pool.get());
    ASSERT_TRUE(port) << port.error().what;
    ports.push_back(std::move(*port));
    build(cores, IdlePolicy::kAdaptive, std::move(pool), std::move(ports));
    far_ = std::make_unique<RawInterface>("va");
  }
  std::vector<std::byte> flow(uint8_t n) {
    std::vector<std::byte> f(60);
    const uint8_t head[] = {2, 0, 0,  0,  0, 2, 2,   0, 0, 0, 0,   1,  8,   0, 0x45, 0, 0,    46,   0, 0,
                            0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 1, 4,    n, 0xca, 0x6c, 0, 26};
    std::memcpy(f.data(), head, sizeof head);
    return f;
  }
  NetNamespace ns_;
  std::unique_ptr<RawInterface> far_;
};

TEST_F(VethWorkerTest, SleepsAndFramesWakeIt) {
  make_over_veth({test::worker_cores()[0]});
  ASSERT_TRUE(plane_->start());
  std::vector<double> latency_us;
  for (uint64_t i = 1; i <= 200; ++i) {
    const uint64_t slept = sleeps();
    ASSERT_TRUE(eventually([&] { return sleeps() > slept || worker().stats().empty_polls > 0; }));
    std::this_thread::sleep_for(200us);  // longer than it spins: it sleeps again, whatever came before
    const auto sent = Steady::now();
    ASSERT_TRUE(far_->send(flow(static_cast<uint8_t>(i))));
    while (received() < i && Steady::now() - sent < 5s) {
    }
    ASSERT_EQ(received(), i);
    latency_us.push_back(std::chrono::duration<double, std::micro>(Steady::now() - sent).count());
  }
  EXPECT_GT(sleeps(), 100u);
  std::sort(latency_us.begin(), latency_us.end());
  std::printf("  from send() to handled by a worker that slept: median %.0f us, 99 %% %.0f us\n", latency_us[100],
              latency_us[198]);
  EXPECT_LT(latency_us[100], 50'000);  // half of its longest sleep: not by its timeout

  ASSERT_TRUE(eventually([&] { return sleeps() > 0; }));
  const auto cpu = cpu_time([] { std::this_thread::sleep_for(1s); });
  std::printf("  idle: %.2f %% of a core\n", static_cast<double>(cpu.count()) / 1e7);
  EXPECT_LT(cpu, 30ms);
}

TEST_F(VethWorkerTest, ALinkThatGoesDownDoesNotMakeItSpin) {
  make_over_veth({test::worker_cores()[0]});
  ASSERT_TRUE(plane_->start());
  ASSERT_TRUE(ns_.run("ip link set vb down"));
  const auto cpu = cpu_time([] { std::this_thread::sleep_for(500ms); });
  std::printf("  idle with its link down: %.2f %% of a core\n", static_cast<double>(cpu.count()) / 5e6);
  EXPECT_LT(cpu, 50ms);
  ASSERT_TRUE(ns_.run("ip link set vb up"));
  EXPECT_TRUE(eventually([&] { return far_->send(flow(1)) && received() != 0; }));  // the carrier takes its time
}

TEST_F(VethWorkerTest, TwoWorkersShareThePortByFlow) {
  make_over_veth({0, 1});
  std::thread threads[2];  // not lcores: the machine may have but one core to spare
  for (size_t i = 0; i < 2; ++i) threads[i] = std::thread([&, i] { worker(i).run(); });
  EXPECT_TRUE(eventually([&] { return sleeps(0) > 0 && sleeps(1) > 0; }));
  for (unsigned i = 0; i < 256; ++i) EXPECT_TRUE(far_->send(flow(static_cast<uint8_t>(i))));
  EXPECT_TRUE(eventually([&] { return received(0) + received(1) == 256; }));
  EXPECT_GT(received(0), 32u);
  EXPECT_GT(received(1), 32u);
  for (size_t i = 0; i < 2; ++i) worker(i).stop();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace sluice
