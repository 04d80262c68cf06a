#include "dataplane/session/session_table.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <unordered_set>
#include <vector>

#include "tests/support/grace_period.h"
#include "tests/support/seeded_rng.h"

namespace sluice {
namespace {

// Yields the given numbers, over and over.
class ScriptedRng final : public Rng {
 public:
  explicit ScriptedRng(std::vector<uint32_t> numbers) : numbers_(std::move(numbers)) {}
  void fill(std::span<std::byte> bytes) noexcept override {
    const uint32_t n = numbers_[next_++ % numbers_.size()];
    std::memcpy(bytes.data(), &n, std::min(bytes.size(), sizeof n));
  }

 private:
  std::vector<uint32_t> numbers_;
  size_t next_ = 0;
};

TEST(SessionTable, IndicesAreUniqueAndTheirSlotsToo) {
  constexpr uint32_t kSlots = 1 << 18;
  test::SeededRng rng;
  SessionTable table(kSlots, rng);
  std::unordered_set<uint32_t> indices, slots;
  bool high_bits_vary = false;
  for (int i = 0; i < 100'000; ++i) {
    const auto index = table.reserve_index();
    ASSERT_TRUE(index);
    indices.insert(*index);
    slots.insert(*index % kSlots);
    high_bits_vary |= *index / kSlots != 0;
  }
  EXPECT_EQ(indices.size(), 100'000u);
  EXPECT_EQ(slots.size(), 100'000u);
  EXPECT_TRUE(high_bits_vary);
}

TEST(SessionTable, H15ZeroAndAllOnesAreLegalIndices) {
  ScriptedRng rng({0, 0xffffffff});
  SessionTable table(64, rng);
  for (const uint32_t expected : {0u, 0xffffffffu}) {
    Keypair keypair;
    keypair.local_index = table.reserve_index().value();
    EXPECT_EQ(keypair.local_index, expected);
    table.publish(&keypair);
    EXPECT_EQ(table.find(expected), &keypair);
    table.withdraw(expected);
  }
}

TEST(SessionTable, DrawsAgainWhenTheSlotIsTaken) {
  ScriptedRng rng({5, 5 + 64, 5 + 128, 6});
  SessionTable table(64, rng);
  EXPECT_EQ(table.reserve_index(), 5u);
  EXPECT_EQ(table.reserve_index(), 6u);
  EXPECT_EQ(table.reserve_index(), std::nullopt);  // gives up instead of spinning
}

TEST(SessionTable, FullIsAnAnswer) {
  test::SeededRng rng;
  SessionTable table(2, rng);
  EXPECT_TRUE(table.reserve_index());
  EXPECT_TRUE(table.reserve_index());
  EXPECT_FALSE(table.reserve_index());
}

TEST(SessionTable, AnIndexNamesItsWorkerAndIsRandomOtherwise) {
  struct {
    uint16_t workers;
    uint32_t mask;
  } const cases[] = {{1, 0}, {2, 1}, {3, 3}, {4, 3}, {5, 7}, {64, 63}};
  for (const auto& [workers, mask] : cases) {
    EXPECT_EQ(SessionTable::worker_mask(workers), mask);
    test::SeededRng rng;
    SessionTable table(1 << 14, rng, workers);
    uint32_t zeros = 0, ones = 0;
    for (unsigned i = 0; i < 1000; ++i) {
      const WorkerId worker{static_cast<uint8_t>(i % workers)};
      const auto index = table.reserve_index(worker);
      ASSERT_TRUE(index);
      EXPECT_EQ(*index & mask, worker.value);
      ones |= *index;
      zeros |= ~*index;
    }
    EXPECT_EQ(ones | mask, ~uint32_t{0});
    EXPECT_EQ(zeros | mask, ~uint32_t{0});
  }
}

TEST(SessionTable, AWorkersSlotsAreHalfFullAtMost) {  // with twice the slots for the names that nobody has
  test::SeededRng rng;
  constexpr uint16_t kWorkers = 5;
  constexpr uint32_t kInUse = 1 << 12;
  SessionTable table(4 * kInUse, rng, kWorkers);
  for (uint32_t i = 0; i < kInUse; ++i) ASSERT_TRUE(table.reserve_index(WorkerId{static_cast<uint8_t>(i % kWorkers)}));
}

TEST(SessionTable, M11HandshakeIndexFindsNoKeypair) {
  test::SeededRng rng;
  SessionTable table(64, rng);
  EXPECT_EQ(table.find(table.reserve_index().value()), nullptr);
}

TEST(SessionTable, SameSlotAnotherIndexMisses) {
  ScriptedRng rng({7});
  SessionTable table(64, rng);
  Keypair keypair;
  keypair.local_index = table.reserve_index().value();
  table.publish(&keypair);
  EXPECT_EQ(table.find(7), &keypair);
  EXPECT_EQ(table.find(7 + 64), nullptr);
  table.withdraw(7 + 64);  // not its index: stays
  EXPECT_EQ(table.find(7), &keypair);
}

TEST(SessionTable, WithdrawnIsGoneAndReleasedIsReusable) {
  ScriptedRng rng({7, 7 + 64});
  SessionTable table(64, rng);
  Keypair keypair;
  keypair.local_index = table.reserve_index().value();
  table.publish(&keypair);
  table.withdraw(7);
  EXPECT_EQ(table.find(7), nullptr);
  EXPECT_FALSE(table.reserve_index());  // taken until the grace period is over
  table.release_index(7);
  const auto again = table.reserve_index();
  ASSERT_TRUE(again);
  EXPECT_EQ(*again % 64, 7u);
}

TEST(SessionTable, BurstAgreesWithSingle) {
  test::SeededRng rng;
  SessionTable table(1 << 12, rng);
  std::vector<std::unique_ptr<Keypair>> keypairs;
  for (int i = 0; i < 1000; ++i) {
    auto& keypair = keypairs.emplace_back(std::make_unique<Keypair>());
    keypair->local_index = table.reserve_index().value();
    table.publish(keypair.get());
  }
  for (int round = 0; round < 200; ++round) {
    std::array<uint32_t, 64> indices;
    std::array<Keypair*, 64> found;
    for (uint32_t& index : indices) {
      index = keypairs[rng.below(1000)]->local_index;
      if (rng.below(4) == 0) index ^= 1u << rng.below(32);  // nobody's, nearly always
    }
    const size_t count = rng.below(65);
    table.find_burst(std::span(indices).first(count), found);
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(found[i], table.find(indices[i]));
  }
}

// One writer publishes, withdraws and frees keypairs, one reader finds them in bursts; the sanitizers see a keypair
// that is freed too early or whose fields are written in sight of the reader.
TEST(SessionTable, ReadersNeverWait) {
  constexpr uint32_t kSlots = 1024;  // 64 live, at most 256 waiting
  test::SeededRng rng(3);
  SessionTable table(kSlots, rng);
  test::GracePeriod grace;
  std::array<std::atomic<uint32_t>, 64> known{};  // indices that were once handed out, for the reader to try
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> wrong{0}, hits{0};

  std::thread reader([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      std::array<uint32_t, 64> indices;
      std::array<Keypair*, 64> found;
      for (size_t i = 0; i < indices.size(); ++i) indices[i] = known[i].load(std::memory_order_relaxed);
      table.find_burst(indices, found);
      for (size_t i = 0; i < indices.size(); ++i) {
        if (found[i] == nullptr) continue;
        ++hits;
        wrong += found[i]->local_index != indices[i] || found[i]->remote_index != ~indices[i];
      }
      grace.quiescent();
    }
    grace.reader_left();
  });

  std::array<std::unique_ptr<Keypair>, 64> live;
  for (int change = 0; change < 20'000 || hits < 1000; ++change) {
    const size_t at = static_cast<size_t>(change) % live.size();
    if (live[at] != nullptr) {
      const uint32_t index = live[at]->local_index;
      table.withdraw(index);
      grace.defer([&table, index, old = std::shared_ptr<Keypair>(std::move(live[at]))]() mutable {
        table.release_index(index);
        old.reset();
      });
    }
    const uint32_t index = table.reserve_index().value();
    live[at] = std::make_unique<Keypair>();
    live[at]->local_index = index;
    live[at]->remote_index = ~index;
    table.publish(live[at].get());
    known[at].store(index, std::memory_order_relaxed);
  }
  stop = true;
  reader.join();
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace sluice
