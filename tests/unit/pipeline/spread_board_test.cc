// The board where workers share cipher work, without an EAL and without packets: every chunk has exactly one worker,
// none is lost, and a burst is used again only when every helper has let go of it. Run by hand under ThreadSanitizer,
// too (tests/conformance.md).
#include "dataplane/pipeline/spread_board.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "dataplane/wire/ip.h"
#include "dataplane/wire/messages.h"

namespace sluice {
namespace {

constexpr WorkerId kOwner{0}, kHelper{1};
using Bursts = SharedBursts;

// "Seals" by counting in the text, with the nonce, how often it was called; opens everything whose nonce is even.
class CountingEngine final : public AeadEngine {
 public:
  std::string_view name() const noexcept override { return "counting"; }
  void seal(std::span<SealJob> jobs, Sums sums) noexcept override {
    for (SealJob& job : jobs) add(job.text, job.nonce);
    if (sums == Sums::kWanted) add_up(jobs);
  }
  void open(std::span<OpenJob> jobs, Sums sums) noexcept override {
    if (sums == Sums::kWanted) add_up(jobs);
    for (OpenJob& job : jobs) {
      add(job.text, job.nonce);
      job.ok = job.nonce % 2 == 0;
    }
  }

 private:
  static void add(std::span<std::byte> text, uint64_t nonce) noexcept {
    uint64_t sum;
    std::memcpy(&sum, text.data(), sizeof sum);
    sum += nonce + 1;
    std::memcpy(text.data(), &sum, sizeof sum);
  }
};

class SpreadBoardTest : public testing::Test {
 protected:
  static constexpr size_t kText = 32, kRoom = sizeof(DataHeader) + kText + kTagSize;

  SpreadBoardTest() : texts_(Bursts::kSlots * SharedBurst::kMaxJobs * kRoom) {}

  std::span<std::byte> text(unsigned slot, unsigned job) {
    return std::span(texts_).subspan((slot * SharedBurst::kMaxJobs + job) * kRoom + sizeof(DataHeader), kText);
  }
  uint64_t sum(unsigned slot, unsigned job) {
    uint64_t sum;
    std::memcpy(&sum, text(slot, job).data(), sizeof sum);
    return sum;
  }
  void lay_out(unsigned slot, Cipher cipher, unsigned jobs, unsigned per_chunk, uint64_t nonce = 0) {
    SharedBurst& burst = mine().at(slot);
    burst.cipher = cipher;
    burst.sums = Sums::kWanted;
    burst.jobs = static_cast<uint16_t>(jobs);
    burst.jobs_per_chunk = static_cast<uint16_t>(per_chunk);
    for (unsigned i = 0; i < jobs; ++i) {
      const std::span<std::byte> bytes = text(slot, i);
      std::memset(bytes.data(), 0, bytes.size());
      burst.seal[i] = {nullptr, nonce + i, bytes, bytes.data() + bytes.size()};
      burst.open[i] = {nullptr, nonce + i, bytes, bytes.data() + bytes.size()};
    }
    mine().publish(slot);
  }
  Bursts& mine() { return board_.of(kOwner); }
  unsigned help() { return board_.help(kHelper, engine_); }

  SpreadBoard board_{3};
  CountingEngine engine_;
  std::vector<std::byte> texts_;
};

TEST_F(SpreadBoardTest, NothingIsTakenFromAWorkerThatIsNotSaturated) {
  lay_out(0, Cipher::kSeal, 64, 8);
  EXPECT_EQ(help(), 0u);
  board_.set_saturated(kOwner, true);
  EXPECT_TRUE(board_.anyone_saturated());
  EXPECT_EQ(help(), 8u);
  board_.set_saturated(kOwner, false);
  EXPECT_FALSE(board_.anyone_saturated());
  EXPECT_EQ(help(), 0u);
}

TEST_F(SpreadBoardTest, NobodyHelpsHimself) {
  board_.set_saturated(kOwner, true);
  lay_out(0, Cipher::kSeal, 64, 8);
  EXPECT_EQ(board_.help(kOwner, engine_), 0u);
  EXPECT_EQ(board_.help(WorkerId{2}, engine_), 8u);
}

TEST_F(SpreadBoardTest, ChunksAreTakenOnceAndInOrder) {
  board_.set_saturated(kOwner, true);
  lay_out(3, Cipher::kSeal, 21, 8);
  EXPECT_EQ(help(), 8u);
  EXPECT_EQ(mine().done_by_helpers(3), 0b001u);
  const auto own = mine().claim_of(3);
  ASSERT_TRUE(own);
  EXPECT_EQ(own->chunk, 1u);
  EXPECT_EQ(help(), 5u) << "the last one is smaller";
  EXPECT_EQ(help(), 0u);
  EXPECT_FALSE(mine().claim_of(3));
  EXPECT_EQ(mine().done_by_helpers(3), 0b101u);
  for (unsigned i = 0; i < 21; ++i) EXPECT_EQ(sum(3, i), i / 8 == 1 ? 0 : i + 1) << i;
}

TEST_F(SpreadBoardTest, TheOldestBurstGoesFirst) {
  board_.set_saturated(kOwner, true);
  lay_out(5, Cipher::kSeal, 16, 8);
  lay_out(2, Cipher::kSeal, 16, 8);
  help(), help(), help();
  EXPECT_EQ(mine().done_by_helpers(5), 0b11u);
  EXPECT_EQ(mine().done_by_helpers(2), 0b01u);
  lay_out(5, Cipher::kSeal, 16, 8);  // used again: the younger one now
  help(), help();
  EXPECT_EQ(mine().done_by_helpers(2), 0b11u);
  EXPECT_EQ(mine().done_by_helpers(5), 0b01u);
}

TEST_F(SpreadBoardTest, VerdictsAndSumsComeOut) {
  board_.set_saturated(kOwner, true);
  lay_out(0, Cipher::kOpen, 8, 8);
  lay_out(1, Cipher::kSeal, 8, 8, 100);
  help(), help();
  for (unsigned i = 0; i < 8; ++i) {
    EXPECT_EQ(mine().at(0).open[i].ok, i % 2 == 0);
    EXPECT_EQ(mine().at(0).open[i].sum, 0u) << "it was all zeros then";
    EXPECT_EQ(mine().at(1).seal[i].sum, checksum_add(ConstBytes(text(1, i).data(), kText + kTagSize)));
  }
}

// One owner, two helpers that come and go, bursts of all sizes. What an engine touches twice, or two at once, shows in
// the sums.
TEST_F(SpreadBoardTest, EveryChunkIsDoneExactlyOnce) {
  board_.set_saturated(kOwner, true);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> helped{0};
  const auto helper = [&](WorkerId self) {
    CountingEngine engine;
    while (!stop) {
      const unsigned packets = board_.help(self, engine);
      helped += packets;
      if (packets == 0) std::this_thread::yield();
    }
  };
  std::thread one(helper, WorkerId{1}), two(helper, WorkerId{2});
  uint64_t done = 0, wrong = 0, bursts = 0;
  for (; bursts < 20'000 || (helped == 0 && bursts < 2'000'000); ++bursts) {
    const unsigned slot = bursts % Bursts::kSlots, jobs = 1 + static_cast<unsigned>(bursts * 37 % 256);
    const Cipher cipher = bursts % 3 == 0 ? Cipher::kOpen : Cipher::kSeal;
    lay_out(slot, cipher, jobs, 8u << bursts % 4, bursts);
    SharedBurst& burst = mine().at(slot);
    Chunks own = 0;
    while (const auto claim = mine().claim_of(slot)) {
      burst.work(burst.first_of(claim->chunk), burst.size_of(claim->chunk), engine_);
      EXPECT_EQ(own >> claim->chunk & 1, 0u);
      own |= Chunks{1} << claim->chunk;
    }
    const Chunks all = ~Chunks{0} >> (64 - burst.chunks());
    while ((own | mine().done_by_helpers(slot)) != all) std::this_thread::yield();
    EXPECT_EQ(own & mine().done_by_helpers(slot), 0u);
    for (unsigned i = 0; i < jobs; ++i) wrong += sum(slot, i) != bursts + i + 1;
    done += jobs;
  }
  stop = true;
  one.join();
  two.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_GT(helped, 0u);
  EXPECT_LT(helped, done);
}

}  // namespace
}  // namespace sluice
