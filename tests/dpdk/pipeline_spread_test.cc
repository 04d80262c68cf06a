// A saturated worker's bursts, worked on by others: what they do is put in by the test between the owner's chunks, so
// every interleaving repeats.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <set>
#include <utility>

#include "dataplane/pipeline/spread.h"
#include "dataplane/wire/messages.h"
#include "tests/support/eal_fixture.h"
#include "tests/support/forced_spread.h"
#include "tests/support/pipeline_bench.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;
using Drops = std::map<std::string, uint64_t>;

constexpr WorkerId kHelper{1};

// Runs the test's code whenever the owner is about to work on a chunk of its own.
class InterruptedEngine final : public AeadEngine {
 public:
  explicit InterruptedEngine(AeadEngine& engine) : engine_(engine) {}
  std::string_view name() const noexcept override { return "interrupted"; }
  void seal(std::span<SealJob> jobs, Sums sums) noexcept override {
    if (interrupt) interrupt();
    engine_.seal(jobs, sums);
  }
  void open(std::span<OpenJob> jobs, Sums sums) noexcept override {
    if (interrupt) interrupt();
    engine_.open(jobs, sums);
  }
  std::function<void()> interrupt;

 private:
  AeadEngine& engine_;
};

Octets inner_packet(std::string_view from, std::string_view to, uint32_t number, size_t payload = 100) {
  Octets bytes(payload);
  std::memcpy(bytes.data(), &number, sizeof number);
  return PacketBuilder(bytes).udp(1000, 2000).ipv4(from, to);
}
uint32_t number_of(ConstBytes inner) {
  uint32_t number;
  std::memcpy(&number, inner.data() + 28, sizeof number);
  return number;
}

class SpreadTest : public testing::Test {
 protected:
  void SetUp() override {
    session_ = &bench.add_session(bench.peer());
    engine.emplace(*bench.worker().engine);
    helper_engine_ = make_engine("");
    bench.worker().engine = &*engine;
  }
  Spread& spread(Spread::Options options = always_spread()) { return bench.spread_everything(options); }
  unsigned help() { return bench.board().help(kHelper, *helper_engine_); }

  // Packets of one flow from the lan into the tunnel, all in one poll.
  void host_sends(unsigned packets, size_t payload = 100) {
    std::vector<Octets> frames;
    for (unsigned i = 0; i < packets; ++i)
      frames.push_back(PacketBuilder(inner_packet("10.1.0.2", "10.2.0.2", i, payload)).ethernet(kLanMac, kHostMac));
    bench.receive(frames, kLan);
  }
  // What X found in them; counters have to be in the order of the wire.
  std::vector<uint32_t> peer_got() {
    std::vector<uint32_t> numbers;
    std::optional<uint64_t> last;
    for (const Octets& message : bench.messages_to_peer()) {
      DataHeader header;
      std::memcpy(&header, message.data(), sizeof header);
      EXPECT_TRUE(!last || header.counter.host() > *last);
      last = header.counter.host();
      const auto inner = session_->open(message);
      EXPECT_TRUE(inner);
      if (inner) numbers.push_back(number_of(*inner));
    }
    return numbers;
  }
  std::vector<Octets> sealed(unsigned packets, std::string_view to = "10.1.0.2",
                             const std::set<unsigned>& forged = {}) {
    std::vector<Octets> frames;
    for (unsigned i = 0; i < packets; ++i, ++counter_) {
      Octets message = session_->seal(counter_, inner_packet("10.2.0.2", to, i));
      if (forged.contains(i)) message.back() ^= std::byte{1};
      frames.push_back(bench.datagram(message));
    }
    return frames;
  }
  void peer_speaks_from(std::string_view address, uint16_t port) {
    const Octets message = session_->seal(counter_++, inner_packet("10.2.0.2", "10.1.0.2", 0));
    const Octets frame =
        PacketBuilder(message).udp(port, kListenPort).ipv4(address, "198.51.100.1").ethernet(kWanMac, kRouterMac);
    bench.receive({frame}, kWan);
  }
  std::vector<uint32_t> host_got() {
    std::vector<uint32_t> numbers;
    for (const Octets& frame : bench.transmitted(kLan)) numbers.push_back(number_of(ConstBytes(frame).subspan(14)));
    return numbers;
  }
  static std::vector<uint32_t> all_but(unsigned n, const std::vector<std::pair<unsigned, unsigned>>& gaps = {}) {
    std::vector<uint32_t> numbers;
    for (uint32_t i = 0; i < n; ++i) {
      bool in_gap = false;
      for (const auto& [begin, end] : gaps) in_gap |= i >= begin && i < end;
      if (!in_gap) numbers.push_back(i);
    }
    return numbers;
  }
  const WorkerStats& stats() { return *bench.worker().stats; }

  PipelineBench bench{2};
  std::optional<InterruptedEngine> engine;

 private:
  RemoteSession* session_ = nullptr;
  std::unique_ptr<AeadEngine> helper_engine_;
  uint64_t counter_ = 0;
};

TEST_F(SpreadTest, NothingIsSpreadWhileTheWorkerHasTimeToSpare) {
  spread({});
  engine->interrupt = [&] { EXPECT_EQ(help(), 0u); };
  host_sends(64);
  bench.receive(sealed(64));
  EXPECT_EQ(peer_got(), all_but(64));
  EXPECT_EQ(host_got(), all_but(64));
  EXPECT_EQ(stats().spread_bursts, 0u);
}

TEST_F(SpreadTest, SmallBurstsAreNotSpread) {
  Spread::Options options = always_spread();
  options.min_packets = 16;
  spread(options);
  host_sends(15);
  EXPECT_EQ(stats().spread_bursts, 0u);
  host_sends(16);
  EXPECT_EQ(stats().spread_bursts, 1u);
  EXPECT_EQ(peer_got().size(), 31u);
}

TEST_F(SpreadTest, TheOwnerDoesItAllIfNobodyComes) {
  spread();
  host_sends(64);
  bench.receive(sealed(64));
  EXPECT_EQ(peer_got(), all_but(64));
  EXPECT_EQ(host_got(), all_but(64));
  EXPECT_EQ(stats().spread_bursts, 2u);
  EXPECT_EQ(stats().spread_packets_helped, 0u);
}

TEST_F(SpreadTest, NobodyComingIsFoundOut) {
  Spread::Options options = always_spread();
  options.give_up_after = 4;
  spread(options);
  for (int i = 0; i < 36; ++i) host_sends(16);
  EXPECT_GE(stats().spread_bursts, 4u + 1);
  EXPECT_LE(stats().spread_bursts, 4u + 3);
  engine->interrupt = [&] { help(); };  // somebody has time again
  for (int i = 0; i < 36; ++i) host_sends(16);
  EXPECT_GE(stats().spread_bursts, 4u + 18);
  bench.release(kWan);
}

TEST_F(SpreadTest, SealsInOrderWithAHelpersChunksAmongItsOwn) {
  spread();
  engine->interrupt = [&] { help(); };
  host_sends(300, 1300);
  EXPECT_EQ(peer_got(), all_but(300));
  EXPECT_GE(stats().spread_packets_helped, 100u);
  EXPECT_EQ(bench.drops(), Drops{});
}

// One for the owner, one for a helper: smaller ones cost more to hand over, and cores fetch each other's lines.
TEST_F(SpreadTest, AFullBurstOfLargePacketsIsTwoChunks) {
  spread();
  bool once = false;
  engine->interrupt = [&] {
    if (!std::exchange(once, true)) help();
  };
  host_sends(64, 1300);
  EXPECT_EQ(stats().spread_packets_helped, 32u);
  EXPECT_EQ(peer_got(), all_but(64));
}

// Where a peer has just gone only the call that sends there knows: its packets do not wait for others, but for those
// under way.
TEST_F(SpreadTest, WhatFollowsAPeerIsSealedAtOnce) {
  const auto socket_to = [](const char* remote) {
    return socket_route(kWan, *parse_endpoint(remote), {}, kListenPort);
  };
  bench.outer_of(bench.peer()) = socket_to("198.51.100.2:51820");
  peer_speaks_from("203.0.113.7", 999);
  spread();
  const uint64_t before = stats().spread_bursts;
  host_sends(100, 1300);
  EXPECT_EQ(stats().spread_bursts, before);
  EXPECT_EQ(bench.drops(), Drops{});
  const std::vector<Octets> packets = bench.transmitted(kWan);
  ASSERT_EQ(packets.size(), 100u);
  for (const Octets& packet : packets) EXPECT_EQ(destination_of(packet), parse_endpoint("203.0.113.7:999")->address);
}

TEST_F(SpreadTest, OpensInOrderAndDropsWhatIsForged) {
  spread();
  engine->interrupt = [&] { help(); };
  const std::vector<Octets> frames = sealed(300, "10.1.0.2", {0, 9, 77, 299});
  bench.receive(frames);
  EXPECT_EQ(host_got(), all_but(300, {{0, 1}, {9, 10}, {77, 78}, {299, 300}}));
  EXPECT_GE(stats().spread_packets_helped, 100u);
  EXPECT_EQ(bench.drops(), (Drops{{"data_authentication", 4}}));
  bench.receive(frames);
  EXPECT_EQ(bench.drops(), (Drops{{"data_authentication", 4}, {"data_replay", 296}}));
}

TEST_F(SpreadTest, WhatWasDamagedOnTheWayIsNotTakenForForged) {  // D-16
  spread();
  engine->interrupt = [&] { help(); };
  std::vector<Octets> frames = sealed(64, "10.1.0.2", {3, 40});
  for (const unsigned i : {5u, 41u, 63u}) frames[i].back() ^= std::byte{1};
  bench.receive(frames);
  EXPECT_GE(stats().spread_packets_helped, 8u);
  EXPECT_EQ(host_got(), all_but(64, {{3, 4}, {5, 6}, {40, 42}, {63, 64}}));
  EXPECT_EQ(bench.drops(), (Drops{{"data_authentication", 2}, {"udp_checksum", 3}}));
}

TEST_F(SpreadTest, KeepsTheOrderFromTunnelToTunnel) {
  bench.hop_to("10.3.0.0/16") = bench.hop_to("10.2.0.0/16");
  Peer& other = bench.add_peer({"10.3.0.0/16"}, "198.51.100.3");
  RemoteSession& theirs = bench.add_session(other);
  spread();
  unsigned turn = 0;
  engine->interrupt = [&] {
    for (unsigned i = 0; i < turn % 3; ++i) help();
    ++turn;
  };
  bench.receive(sealed(500, "10.3.0.9"));
  std::vector<uint32_t> numbers;
  for (const Octets& message : bench.messages_to_peer()) {
    const auto inner = theirs.open(message);
    ASSERT_TRUE(inner);
    numbers.push_back(number_of(*inner));
  }
  EXPECT_EQ(numbers, all_but(500));
  EXPECT_EQ(bench.drops(), Drops{});
}

TEST_F(SpreadTest, AStalledHelperCostsItsChunkAndNothingElse) {
  Spread::Options options = always_spread();
  options.patience = 1us;
  options.chunk_bytes = 8 * 1300;
  Spread& owner = spread(options);
  std::optional<SharedBursts::Claim> stalled;
  engine->interrupt = [&] {
    if (!stalled) stalled = bench.board().of(WorkerId{0}).claim_oldest();
  };
  host_sends(64, 1300);
  EXPECT_EQ(peer_got(), all_but(64, {{8, 16}}));
  EXPECT_EQ(bench.drops(), (Drops{{"spread_stalled", 8}}));
  EXPECT_EQ(stats().spread_stalls, 1u);
  EXPECT_FALSE(owner.reclaim()) << "packets and keys are in the helper's hands";
  EXPECT_EQ(bench.buffers_in_use(), 8u);

  host_sends(200);  // life goes on in other slots
  bench.receive(sealed(200));
  EXPECT_EQ(peer_got(), all_but(200));
  EXPECT_EQ(host_got(), all_but(200));
  EXPECT_FALSE(owner.reclaim());

  bench.board().of(WorkerId{0}).finish(*stalled);  // it comes back
  EXPECT_TRUE(owner.reclaim());
  EXPECT_EQ(bench.buffers_in_use(), 0u);
  EXPECT_EQ(bench.drops(), Drops{});
}

TEST_F(SpreadTest, HelpersThatNeverComeBackLeaveTheOwnerOnItsOwn) {
  Spread::Options options = always_spread();
  options.patience = 1us;
  Spread& owner = spread(options);
  engine->interrupt = [&] { bench.board().of(WorkerId{0}).claim_oldest(); };
  for (int i = 0; i < 20; ++i) {
    host_sends(16);
    bench.receive(sealed(16));
  }
  const unsigned lost = SharedBursts::kSlots * 8;
  EXPECT_EQ(bench.drops(), (Drops{{"spread_stalled", lost}}));
  EXPECT_EQ(peer_got().size() + host_got().size(), 2u * 20 * 16 - lost);
  EXPECT_EQ(stats().spread_bursts, SharedBursts::kSlots);
  EXPECT_FALSE(owner.reclaim());
}  // the bench counts the buffers

}  // namespace
}  // namespace sluice::test
