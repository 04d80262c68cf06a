#include "dataplane/pipeline/mailbox.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_pause.h>
#include <sched.h>

#include <atomic>
#include <thread>
#include <vector>

#include "dataplane/pipeline/stats.h"
#include "tests/support/eal_fixture.h"

namespace sluice {
namespace {

constexpr Mailbox::Sizes kSmall{.handshakes = 4, .punts = 5, .events = 6, .inbox = 7, .ready = 8};

std::unique_ptr<Mailbox> make(const Mailbox::Sizes& sizes = kSmall) {
  Result<std::unique_ptr<Mailbox>> box = Mailbox::create(WorkerId{0}, sizes, SOCKET_ID_ANY);
  EXPECT_TRUE(box) << box.error().what;
  return std::move(*box);
}

bool readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, 0) == 1;
}

// Threads inherit the main thread's core; two of them on one core race with nobody.
void run_on(unsigned core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  EXPECT_EQ(sched_setaffinity(0, sizeof set, &set), 0);
}

TEST(Mailbox, PacketRingsHoldExactlyTheirSizeAndKeepTheOrder) {
  const auto box = make();
  std::vector<rte_mbuf> storage(10);
  rte_mbuf* packets[10];
  for (size_t i = 0; i < 10; ++i) packets[i] = &storage[i];

  EXPECT_EQ(box->post_handshakes(packets, 10), 4u);
  EXPECT_EQ(box->post_handshakes(packets, 1), 0u);
  EXPECT_EQ(box->handshakes_waiting(), 4u);
  EXPECT_EQ(box->post_punts(packets, 10), 5u);
  EXPECT_TRUE(box->control_has_work());

  rte_mbuf* taken[10] = {};
  ASSERT_EQ(box->take_handshakes(taken, 3), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(taken[i], packets[i]);
  EXPECT_EQ(box->take_handshakes(taken, 10), 1u);
  EXPECT_EQ(taken[0], packets[3]);
  ASSERT_EQ(box->take_punts(taken, 10), 5u);
  EXPECT_EQ(taken[4], packets[4]);
  EXPECT_FALSE(box->control_has_work());
}

TEST(Mailbox, EventsArriveWhole) {
  const auto box = make();
  Event sent{.kind = EventKind::kEndpointMoved, .worker = WorkerId{3}, .peer = {7, 9}, .index = 0x01020304};
  sent.remote = *parse_endpoint("[2001:db8::1]:51820");
  sent.local = *parse_address("192.0.2.9");
  for (unsigned i = 0; i < kSmall.events; ++i) {
    sent.index = i;
    EXPECT_TRUE(box->post_event(sent));
  }
  EXPECT_FALSE(box->post_event(sent));

  Event taken[8];
  ASSERT_EQ(box->take_events(taken, 8), kSmall.events);
  for (unsigned i = 0; i < kSmall.events; ++i) {
    EXPECT_EQ(taken[i].kind, sent.kind);
    EXPECT_EQ(taken[i].worker, sent.worker);
    EXPECT_EQ(taken[i].peer, sent.peer);
    EXPECT_EQ(taken[i].index, i);
    EXPECT_EQ(taken[i].remote, sent.remote);
    EXPECT_EQ(taken[i].local, sent.local);
  }
}

TEST(Mailbox, CommandsArriveWholeAndAFullInboxLeavesThePacketToItsOwner) {
  const auto box = make();
  rte_mbuf packet;
  const Command command{
      .kind = CommandKind::kTunnel, .port = PortId{2}, .tunnel = TunnelId{5}, .peer = {11, 12}, .packet = &packet};
  EXPECT_FALSE(box->worker_has_work());
  unsigned posted = 0;
  while (box->post_command(command)) ++posted;
  EXPECT_EQ(posted, kSmall.inbox);
  EXPECT_TRUE(box->worker_has_work());
  Command taken[8];
  ASSERT_EQ(box->take_commands(taken, 8), kSmall.inbox);
  EXPECT_EQ(taken[6].kind, command.kind);
  EXPECT_EQ(taken[6].port, command.port);
  EXPECT_EQ(taken[6].tunnel, command.tunnel);
  EXPECT_EQ(taken[6].peer, command.peer);
  EXPECT_EQ(taken[6].packet, &packet);
}

TEST(Mailbox, FreesWhatNobodyTook) {
  const PacketPool pool = test::small_pool();
  const unsigned buffers = rte_mempool_avail_count(pool.get());
  auto box = make();
  rte_mbuf* packets[3];
  for (rte_mbuf*& m : packets) m = rte_pktmbuf_alloc(pool.get());
  EXPECT_EQ(box->post_handshakes(packets, 1), 1u);
  EXPECT_EQ(box->post_punts(packets + 1, 1), 1u);
  EXPECT_TRUE(box->post_command({.kind = CommandKind::kTransmit, .packet = packets[2]}));
  EXPECT_TRUE(box->post_command({.kind = CommandKind::kKeepalive}));
  EXPECT_EQ(rte_mempool_avail_count(pool.get()), buffers - 3);
  box.reset();
  EXPECT_EQ(rte_mempool_avail_count(pool.get()), buffers);
}

TEST(Mailbox, ReadyRingTakesManyProducers) {
  const auto box = make({.ready = 4096});
  std::vector<std::thread> producers;
  for (uint32_t producer = 0; producer < 3; ++producer) {
    producers.emplace_back([&box, producer] {
      for (uint32_t i = 0; i < 1000; ++i) EXPECT_TRUE(box->post_ready({producer, i}));
    });
  }
  for (auto& p : producers) p.join();
  uint32_t next[3] = {};
  PeerId taken[64];
  while (const unsigned n = box->take_ready(taken, 64)) {
    for (unsigned i = 0; i < n; ++i) {
      ASSERT_LT(taken[i].slot, 3u);
      EXPECT_EQ(taken[i].generation, next[taken[i].slot]++);
    }
  }
  for (const uint32_t n : next) EXPECT_EQ(n, 1000u);
}

TEST(Mailbox, RefusesSizesThatNoRingCanHave) {
  for (const unsigned size : {0u, 0x80000000u}) {
    const Result<std::unique_ptr<Mailbox>> box = Mailbox::create(WorkerId{4}, {.inbox = size}, SOCKET_ID_ANY);
    ASSERT_FALSE(box);
    EXPECT_EQ(box.error().what,
              "mailbox of worker 4: the inbox ring may have 1 to 16777216 entries, not " + std::to_string(size));
  }
}

TEST(Doorbell, IsSilentWhileNobodySleeps) {
  Doorbell bell;
  bell.ring();
  EXPECT_FALSE(readable(bell.fd()));
  bell.prepare_sleep();
  bell.ring();
  bell.ring();
  EXPECT_TRUE(readable(bell.fd()));
  bell.woke_up();
  bell.clear();
  EXPECT_FALSE(readable(bell.fd()));
  bell.ring();
  EXPECT_FALSE(readable(bell.fd()));
}

TEST(Doorbell, PostingRingsTheSideThatTakes) {
  const auto box = make();
  Doorbell control;
  box->control_bell = &control;
  const auto rings = [](Doorbell& bell, auto&& post) {
    bell.prepare_sleep();
    post();
    const bool rung = readable(bell.fd());
    bell.woke_up();
    bell.clear();
    return rung;
  };
  const PacketPool pool = test::small_pool();
  rte_mbuf* packets[] = {rte_pktmbuf_alloc(pool.get()), rte_pktmbuf_alloc(pool.get())};
  EXPECT_TRUE(rings(control, [&] { box->post_handshakes(packets, 1); }));
  EXPECT_TRUE(rings(control, [&] { box->post_punts(packets + 1, 1); }));
  EXPECT_TRUE(rings(control, [&] { box->post_event({}); }));
  EXPECT_TRUE(rings(box->worker_bell, [&] { box->post_command({}); }));
  EXPECT_TRUE(rings(box->worker_bell, [&] { box->post_ready({}); }));
  EXPECT_FALSE(rings(box->worker_bell, [&] { box->post_event({}); }));
}

// Both sides start each round together; whatever way they interleave, the sleeper sees the command or the bell rings.
// (Without one of the fences it fails in most runs on x86.)
TEST(Doorbell, NeverLosesAWakeUp) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two cores";
  constexpr uint32_t kRounds = 200'000;
  const auto box = make();
  std::atomic<uint32_t> started{0}, finished{0};
  std::thread other_side([&] {
    run_on(test::worker_cores()[0]);
    for (uint32_t round = 1; round <= kRounds; ++round) {
      while (started.load() < round) {
      }
      EXPECT_TRUE(box->post_command({}));
      finished.store(round);
    }
  });
  uint32_t lost = 0;
  for (uint32_t round = 1; round <= kRounds; ++round) {
    started.store(round);
    for (uint32_t pause = 0; pause < round % 8; ++pause) rte_pause();
    box->worker_bell.prepare_sleep();
    const bool saw_work = box->worker_has_work();
    while (finished.load() < round) {
    }
    lost += !saw_work && !readable(box->worker_bell.fd());
    box->worker_bell.woke_up();
    box->worker_bell.clear();
    Command command;
    EXPECT_EQ(box->take_commands(&command, 1), 1u);
  }
  other_side.join();
  EXPECT_EQ(lost, 0u);
}

TEST(StageNames, AreTheListInOrder) {
  EXPECT_EQ(stage_name(Stage::receive), "receive");
  EXPECT_EQ(stage_name(Stage::open_burst), "open_burst");
  EXPECT_EQ(stage_name(Stage::inbox), "inbox");
}

}  // namespace
}  // namespace sluice
