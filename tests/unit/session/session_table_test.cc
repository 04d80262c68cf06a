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

// With a new index, published.
std::unique_ptr<Keypair> keypair_in(SessionTable& table) {
  auto keypair = std::make_unique<Keypair>(table.reserved(table.reserve_index().value()));
  table.publish(*keypair);
  return keypair;
}

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
    slots.insert(table.slot_of(*index));
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
    const auto keypair = keypair_in(table);
    EXPECT_EQ(keypair->receiving.local_index, expected);
    EXPECT_EQ(table.find(expected), &keypair->receiving);
    table.withdraw(expected);
  }
}

// Other indices with the slot that `index` has in such a table.
std::vector<uint32_t> of_the_same_slot(uint32_t index, uint32_t slots, size_t count) {
  test::SeededRng rng;
  const SessionTable table(slots, rng);
  std::vector<uint32_t> others;
  for (uint32_t other = index + 1; others.size() < count; ++other)
    if (table.slot_of(other) == table.slot_of(index)) others.push_back(other);
  return others;
}

TEST(SessionTable, DrawsAgainWhenTheSlotIsTaken) {
  const auto others = of_the_same_slot(5, 64, 2);
  ScriptedRng rng({5, others[0], others[1], 6});
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

// Few pages are touched, and an index shows nothing of it.
TEST(SessionTable, SlotsInUseAreKeptTogether) {
  constexpr uint32_t kSlots = 1 << 20;
  test::SeededRng rng;
  SessionTable table(kSlots, rng);
  uint32_t zeros = 0, ones = 0, last = 0;
  for (uint32_t i = 0; i < 100'000; ++i) {
    const uint32_t index = table.reserve_index().value();
    ones |= index;
    zeros |= ~index;
    last = std::max(last, table.slot_of(index));
    if (i == 500) {
      EXPECT_LT(last, 1024u);
    }
  }
  EXPECT_LT(last, 1u << 18);
  EXPECT_EQ(table.bytes_in_use(), (sizeof(ReceivingKey) + sizeof(Keypair*)) << 18);
  EXPECT_EQ(ones, ~uint32_t{0});
  EXPECT_EQ(zeros, ~uint32_t{0});
}

TEST(SessionTable, OneWorkersIndicesGoOnWhereOthersHaveNone) {
  test::SeededRng rng;
  SessionTable table(1 << 14, rng, 8);
  std::unordered_set<uint32_t> slots;
  for (int i = 0; i < 1024; ++i) slots.insert(table.slot_of(table.reserve_index(WorkerId{3}).value()));
  EXPECT_EQ(slots.size(), 1024u);
}

TEST(SessionTable, M11HandshakeIndexFindsNoKeypair) {
  test::SeededRng rng;
  SessionTable table(64, rng);
  EXPECT_EQ(table.find(table.reserve_index().value()), nullptr);
}

TEST(SessionTable, SameSlotAnotherIndexMisses) {
  ScriptedRng rng({7});
  SessionTable table(64, rng);
  const auto keypair = keypair_in(table);
  const uint32_t other = of_the_same_slot(7, 64, 1)[0];
  EXPECT_EQ(table.find(7), &keypair->receiving);
  EXPECT_EQ(&table.keypair_of(*table.find(7)), keypair.get());
  EXPECT_EQ(table.find(other), nullptr);
  table.withdraw(other);  // not its index: stays
  EXPECT_EQ(table.find(7), &keypair->receiving);
}

TEST(SessionTable, WithdrawnIsGoneAndReleasedIsReusable) {
  const uint32_t other = of_the_same_slot(7, 64, 1)[0];
  ScriptedRng rng({7, other});
  SessionTable table(64, rng);
  auto keypair = keypair_in(table);
  keypair->receiving.secret.bytes()[0] = std::byte{1};
  keypair->receiving.last_flow = 9;
  table.withdraw(7);
  EXPECT_EQ(table.find(7), nullptr);
  EXPECT_FALSE(table.reserve_index());  // taken until the grace period is over
  keypair.reset();
  table.release_index(7);
  rng = ScriptedRng({other});
  ASSERT_EQ(table.reserve_index(), other);
  const ReceivingKey& next = table.reserved(other);
  EXPECT_TRUE(next.secret.is_zero());
  EXPECT_EQ(next.last_flow, 0u);
  EXPECT_EQ(table.find(other), nullptr);  // not published
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
      for (size_t i = 0; i < indices.size(); ++i) indices[i] = known[i].load(std::memory_order_relaxed);
      for (const uint32_t index : indices) {
        const ReceivingKey* found = table.find(index);
        if (found == nullptr) continue;
        ++hits;
        const Keypair& keypair = table.keypair_of(*found);
        wrong += found->local_index != index || &keypair.receiving != found || keypair.sending->remote_index != ~index;
      }
      grace.quiescent();
    }
    grace.reader_left();
  });

  std::array<std::unique_ptr<Keypair>, 64> live;
  for (int change = 0; change < 20'000 || hits < 1000; ++change) {
    const size_t at = static_cast<size_t>(change) % live.size();
    if (live[at] != nullptr) {
      const uint32_t index = live[at]->receiving.local_index;
      table.withdraw(index);
      grace.defer([&table, index, old = std::shared_ptr<Keypair>(std::move(live[at]))]() mutable {
        old.reset();
        table.release_index(index);
      });
    }
    const uint32_t index = table.reserve_index().value();
    live[at] = std::make_unique<Keypair>(table.reserved(index));
    live[at]->sending->remote_index = ~index;
    table.publish(*live[at]);
    known[at].store(index, std::memory_order_relaxed);
  }
  stop = true;
  reader.join();
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace sluice
