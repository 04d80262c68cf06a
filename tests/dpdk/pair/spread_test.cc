// Two workers, one flow of one peer: the worker without queues of its own helps the other, in a thread of its own.
#include <atomic>
#include <thread>

#include "tests/dpdk/pair/pair_fixture.h"
#include "tests/support/forced_spread.h"

namespace sluice::test {
namespace {

class SpreadPair : public PairTest {
 protected:
  void SetUp() override {
    GatewayPair::Options options;
    options.a.workers = options.b.workers = 2;
    options.a.spread = options.b.spread = always_spread();
    options.a.spread->patience = options.b.spread->patience = 10s;  // the machine may be busy, and nothing may be lost
    start(options);
  }
  static constexpr uint64_t kEnough = 64;  // packets: a helper that shares its core with others meets few bursts
  static Worker& worker(TestGateway& at, size_t n) { return *at.dataplane().workers()[n]; }
  static uint64_t helped(TestGateway& at) { return worker(at, 0).stats().spread_packets_helped; }
};

TEST_F(SpreadPair, OneFlowInOrderWithTwoWorkersAtBothEnds) {
  pair().shake_hands();
  std::atomic<bool> stop{false};
  std::thread helper([&] {
    while (!stop) {
      worker(a(), 1).poll_once();
      worker(b(), 1).poll_once();
    }
  });
  uint32_t sent = 0;
  std::vector<uint32_t> arrived;
  for (int round = 0; round < 200'000 && (helped(a()) < kEnough || helped(b()) < kEnough || arrived.size() < sent);
       ++round) {
    if (sent < 1'000'000 && (helped(a()) < kEnough || helped(b()) < kEnough)) {
      a_sends(64);
      sent += 64;
    }
    worker(a(), 0).poll_once();
    while (auto frame = a().wan().receive(0)) b().wan().send(*frame, 0);
    worker(b(), 0).poll_once();
    for (const uint32_t n : sequences(pair().arrived_at_b())) arrived.push_back(n);
  }
  stop = true;
  helper.join();
  EXPECT_EQ(arrived.size(), sent);
  EXPECT_TRUE(strictly_ascending(arrived));
  EXPECT_GE(helped(a()), kEnough);
  EXPECT_GE(helped(b()), kEnough);
  EXPECT_EQ(a().drop_names(), Names{});
  EXPECT_EQ(b().drop_names(), Names{});
  const auto help = static_cast<size_t>(Stage::help);
  EXPECT_EQ(worker(a(), 1).stats().stages[help].packets, helped(a()));
  EXPECT_EQ(worker(b(), 1).stats().stages[help].packets, helped(b()));
}

}  // namespace
}  // namespace sluice::test
