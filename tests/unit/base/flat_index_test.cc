#include "dataplane/base/flat_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "tests/support/seeded_rng.h"

namespace sluice {
namespace {

// Items whose hashes come from a range so small that runs of them form, and wrap around the end.
class FlatIndexTest : public testing::Test {
 protected:
  size_t hash_of(uint32_t number) const { return hashes_[number]; }
  auto hasher() const {
    return [this](uint32_t number) { return hash_of(number); };
  }
  uint32_t add(size_t hash) {
    hashes_.push_back(hash);
    const auto number = static_cast<uint32_t>(hashes_.size() - 1);
    index_.insert(number, hasher());
    return number;
  }
  std::optional<uint32_t> find(uint32_t number) const {
    return index_.find(hash_of(number), [number](uint32_t candidate) { return candidate == number; });
  }

  FlatIndex index_;
  std::vector<size_t> hashes_;
};

TEST_F(FlatIndexTest, AnEmptyOneFindsNothing) {
  EXPECT_EQ(index_.find(0, [](uint32_t) { return true; }), std::nullopt);
  EXPECT_EQ(index_.size(), 0u);
}

TEST_F(FlatIndexTest, ItemsOfOneHashAreToldApart) {
  std::vector<uint32_t> numbers;
  for (int i = 0; i < 5; ++i) numbers.push_back(add(7));
  index_.erase(numbers[0], hasher());
  index_.erase(numbers[3], hasher());
  for (const uint32_t number : numbers)
    EXPECT_EQ(find(number), number == numbers[0] || number == numbers[3] ? std::nullopt : std::optional(number));
  EXPECT_EQ(index_.size(), 3u);
}

TEST_F(FlatIndexTest, AnyOrderOfComingAndGoingLeavesWhatIsThere) {
  for (const uint32_t range : {3u, 50u, UINT32_MAX}) {
    test::SeededRng rng(range);
    std::vector<uint32_t> there, gone;
    for (int step = 0; step < 5000; ++step) {
      if (there.size() < 60 && rng.below(2) == 0) {
        there.push_back(add(rng.below(range)));
      } else if (!there.empty()) {
        std::swap(there[rng.below(static_cast<uint32_t>(there.size()))], there.back());
        index_.erase(there.back(), hasher());
        gone.push_back(there.back());
        there.pop_back();
      }
      ASSERT_EQ(index_.size(), there.size());
      for (const uint32_t number : there) ASSERT_EQ(find(number), number);
      if (!gone.empty()) {
        ASSERT_EQ(find(gone.back()), std::nullopt);
      }
    }
    for (const uint32_t number : there) index_.erase(number, hasher());
    EXPECT_EQ(index_.size(), 0u);
  }
}

}  // namespace
}  // namespace sluice
