#include "dataplane/session/replay_window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/support/seeded_rng.h"
#include "tests/support/vectors.h"

namespace sluice {
namespace {

// One with its older words, as a keypair has them.
class Window {
 public:
  bool accept(uint64_t counter) {
    return window_.accept(counter, [this]() -> ReplayWindow::OlderWords& { return older_; });
  }
  uint64_t received() const { return window_.received(); }

 private:
  ReplayWindow window_;
  ReplayWindow::OlderWords older_{};
};

// W-01. The sequence for the larger limit of Linux is run up to the first counter beyond ours: a receiver may use
// either.
TEST(ReplayWindow, W01AllSequences) {
  const auto vectors = test::load_vectors("replay.json");
  size_t answers = 0;
  for (const auto& sequence : vectors["vectors"]) {
    SCOPED_TRACE(sequence["id"].get<std::string>());
    const bool larger_limit = std::stoull(sequence["limit"].get<std::string>()) > kRejectAfterMessages;
    Window window;
    for (const auto& run : sequence["runs"]) {
      const uint64_t from = std::stoull(run["from"].get<std::string>());
      const uint64_t to = std::stoull(run["to"].get<std::string>());
      if (larger_limit && std::max(from, to) >= kRejectAfterMessages) break;
      for (uint64_t counter = from;; from <= to ? ++counter : --counter) {
        ASSERT_EQ(window.accept(counter), run["accept"].get<bool>()) << counter;
        ++answers;
        if (counter == to) break;
      }
    }
  }
  EXPECT_GT(answers, 32'000u);
}

// W-03, as arithmetic: exactly 8128 behind the greatest is good, once; 8129 is not.
TEST(ReplayWindow, W03WindowEdge) {
  Window window;
  EXPECT_TRUE(window.accept(8228));
  EXPECT_TRUE(window.accept(100));
  EXPECT_FALSE(window.accept(100));
  EXPECT_FALSE(window.accept(99));
}

// W-04: counters beyond the limit are refused and leave no trace.
TEST(ReplayWindow, W04BeyondTheLimitLeavesTheWindowAlone) {
  Window window;
  EXPECT_TRUE(window.accept(3));
  for (const uint64_t counter : {UINT64_MAX, UINT64_MAX - 8129, kRejectAfterMessages})
    EXPECT_FALSE(window.accept(counter)) << counter;
  EXPECT_EQ(window.received(), 4u);
  EXPECT_TRUE(window.accept(2));
  EXPECT_FALSE(window.accept(3));
}

// W-05: the last counter below the limit is good once; from then on only its own window is.
TEST(ReplayWindow, W05LastCounterBelowTheLimit) {
  Window window;
  EXPECT_TRUE(window.accept(0));
  EXPECT_TRUE(window.accept(kRejectAfterMessages - 1));
  EXPECT_FALSE(window.accept(kRejectAfterMessages - 1));
  EXPECT_FALSE(window.accept(1));
  EXPECT_TRUE(window.accept(kRejectAfterMessages - 1 - 8128));
  EXPECT_FALSE(window.accept(kRejectAfterMessages - 1 - 8129));
}

// W-07: a window belongs to one keypair and starts empty.
TEST(ReplayWindow, W07StartsEmpty) {
  for (int keypair = 0; keypair < 2; ++keypair) EXPECT_TRUE(Window().accept(0));
}

// Words that are skipped are empty, however many they are, and those before them still known as far as they reach.
TEST(ReplayWindow, JumpsOverWords) {
  for (const uint64_t words : {1u, 2u, 126u, 127u, 128u, 129u, 200u, 256u, 300u}) {
    SCOPED_TRACE(words);
    Window window;
    for (uint64_t counter = 0; counter < 9000; ++counter) ASSERT_TRUE(window.accept(counter));
    const uint64_t greatest = 8999 + 64 * words;
    ASSERT_TRUE(window.accept(greatest));
    for (uint64_t counter = greatest - 8128; counter < greatest; ++counter)
      ASSERT_EQ(window.accept(counter), counter >= 9000) << counter;
  }
}

// In order, a packet asks for no other word, but one in 64.
TEST(ReplayWindow, OlderWordsAreAskedForOncePerWord) {
  ReplayWindow window;
  ReplayWindow::OlderWords older{};
  unsigned asked = 0;
  for (uint64_t counter = 0; counter < 64 * 100; ++counter)
    ASSERT_TRUE(window.accept(counter, [&]() -> ReplayWindow::OlderWords& { return ++asked, older; }));
  EXPECT_EQ(asked, 100u);
}

// The definition itself, kept as a plain set of what was accepted.
TEST(ReplayWindow, AgreesWithASet) {
  test::SeededRng rng(9);
  for (const uint32_t spread : {8u, 100u, 8128u, 20'000u}) {
    Window window;
    std::set<uint64_t> accepted;
    uint64_t top = 0;  // greatest accepted
    for (int i = 0; i < 100'000; ++i) {
      const uint64_t lowest = top - std::min<uint64_t>(top, spread / 4 * 3);
      const uint64_t counter = lowest + rng.below(spread);
      const bool too_old = !accepted.empty() && counter + 8128 < top;
      const bool expected = !too_old && accepted.insert(counter).second;
      ASSERT_EQ(window.accept(counter), expected) << counter << " after " << top;
      if (expected) top = std::max(top, counter);
      while (!accepted.empty() && *accepted.begin() + 8128 < top) accepted.erase(accepted.begin());
    }
    EXPECT_GT(top, 1000u);
  }
}

}  // namespace
}  // namespace sluice
