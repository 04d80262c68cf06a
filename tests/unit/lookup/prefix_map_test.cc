#include "dataplane/lookup/prefix_map.h"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/grace_period.h"
#include "tests/support/naive_router.h"

namespace sluice {
namespace {

using test::clustered_prefixes;
using test::NaiveRouter;
using test::random_address;
using test::random_address_near;
using test::SeededRng;

Prefix prefix(const char* text) { return parse_prefix(text).value(); }
IpAddress address(const char* text) { return parse_address(text).value(); }

// Some inside or beside the known prefixes, some anywhere.
IpAddress random_target(SeededRng& rng, const std::vector<Prefix>& prefixes) {
  if (prefixes.empty() || rng.below(4) == 0)
    return random_address(rng, rng.below(2) == 0 ? Family::kIpv4 : Family::kIpv6);
  return random_address_near(rng, prefixes[rng.below(static_cast<uint32_t>(prefixes.size()))]);
}

void expect_same_answers(const PrefixView& view, const NaiveRouter& router, const std::vector<Prefix>& prefixes,
                         SeededRng& rng, int look_ups) {
  for (int i = 0; i < look_ups; ++i) {
    const IpAddress target = random_target(rng, prefixes);
    ASSERT_EQ(view.find(target), router.find(target).value_or(PrefixView::kNone)) << to_string(target);
  }
}

TEST(PrefixMap, EmptyMapAnswersNone) {
  PrefixMap map;
  EXPECT_EQ(map.view().find(address("10.0.0.1")), PrefixView::kNone);
  EXPECT_EQ(map.view().find(address("::1")), PrefixView::kNone);
  EXPECT_EQ(map.view().find(IpAddress{}), PrefixView::kNone);
  EXPECT_EQ(PrefixView().find(address("10.0.0.1")), PrefixView::kNone);
  EXPECT_EQ(map.erase(prefix("10.0.0.0/8")), std::nullopt);
  EXPECT_TRUE(map.take_garbage().empty());
}

TEST(PrefixMap, FamiliesAreSeparateWorlds) {
  PrefixMap map;
  map.insert(prefix("0.0.0.0/0"), 4);
  EXPECT_EQ(map.view().find(address("1.2.3.4")), 4u);
  EXPECT_EQ(map.view().find(address("::ffff:1.2.3.4")), PrefixView::kNone);
  map.insert(prefix("::/0"), 6);
  EXPECT_EQ(map.view().find(address("1.2.3.4")), 4u);
  EXPECT_EQ(map.view().find(address("::ffff:1.2.3.4")), 6u);
}

TEST(PrefixMap, InsertAndEraseTellWhatWasThere) {
  PrefixMap map;
  EXPECT_EQ(map.insert(prefix("10.0.0.0/9"), 1), std::nullopt);
  EXPECT_EQ(map.insert(prefix("10.0.0.0/9"), 2), 1u);
  EXPECT_EQ(map.insert(prefix("10.0.0.0/8"), 3), std::nullopt);
  EXPECT_EQ(map.size(), 2u);
  EXPECT_EQ(map.exact(prefix("10.0.0.0/9")), 2u);
  EXPECT_EQ(map.exact(prefix("10.0.0.0/10")), std::nullopt);
  EXPECT_EQ(map.erase(prefix("10.0.0.0/10")), std::nullopt);
  EXPECT_EQ(map.erase(prefix("10.0.0.0/9")), 2u);
  EXPECT_EQ(map.erase(prefix("10.0.0.0/9")), std::nullopt);
  EXPECT_EQ(map.view().find(address("10.0.0.1")), 3u);
  EXPECT_EQ(map.size(), 1u);
}

// Every length of both families on one path: the longest that covers wins, whatever the order of insertion.
TEST(PrefixMap, EveryLengthOnOnePath) {
  for (const char* text : {"203.0.113.77", "2001:db8:5555:aaaa:1234:5678:9abc:def1"}) {
    const IpAddress target = address(text);
    for (const bool longest_first : {false, true}) {
      PrefixMap map;
      for (unsigned i = 0; i <= target.bits(); ++i) {
        const unsigned length = longest_first ? target.bits() - i : i;
        EXPECT_EQ(map.insert(Prefix::make(target, length), length), std::nullopt);
      }
      for (unsigned bit = 0; bit < target.bits(); ++bit) {
        IpAddress parted = target;
        test::flip_bit(parted, bit);
        EXPECT_EQ(map.view().find(parted), bit);
      }
      for (unsigned length = target.bits();; --length) {
        EXPECT_EQ(map.view().find(target), length);
        EXPECT_EQ(map.erase(Prefix::make(target, length)), length);
        if (length == 0) break;
      }
      EXPECT_EQ(map.size(), 0u);
      EXPECT_EQ(map.view().find(target), PrefixView::kNone);
    }
  }
}

// host prefixes that each differ from the first in one bit more: the deepest shape there is, removed in both
// orders.
TEST(PrefixMap, A03DeepChains) {
  const IpAddress base = address("8000::");
  std::vector<Prefix> chain = {Prefix::host(base)};
  for (unsigned bit = 0; bit < 128; ++bit) {
    IpAddress next = base;
    test::flip_bit(next, bit);
    chain.push_back(Prefix::host(next));
  }
  for (const bool backwards : {false, true}) {
    PrefixMap map;
    for (uint32_t i = 0; i < chain.size(); ++i) map.insert(chain[i], i);
    map.view();  // from here on everything is copied
    for (size_t i = 0; i < chain.size(); ++i) {
      const size_t gone = backwards ? chain.size() - 1 - i : i;
      ASSERT_EQ(map.erase(chain[gone]), gone);
      for (size_t other = 0; other < chain.size(); ++other) {
        const bool there = backwards ? other < gone : other > gone;
        ASSERT_EQ(map.view().find(chain[other].address), there ? other : PrefixView::kNone);
      }
    }
    EXPECT_EQ(map.size(), 0u);
  }
}

TEST(PrefixMap, MillionLookUpsAgreeWithANaiveRouter) {
  SeededRng rng(4000);
  const std::vector<Prefix> prefixes = clustered_prefixes(rng, 4000);
  PrefixMap map;
  NaiveRouter router;
  for (uint32_t i = 0; i < prefixes.size(); ++i) {
    map.insert(prefixes[i], i);
    router.insert(prefixes[i], i);
  }
  expect_same_answers(map.view(), router, prefixes, rng, 1'000'000);
}

TEST(PrefixMap, BurstsAgreeWithSingleLookUps) {
  SeededRng rng(256);
  const std::vector<Prefix> prefixes = clustered_prefixes(rng, 3000);
  PrefixMap map;
  for (uint32_t i = 0; i < prefixes.size(); ++i) map.insert(prefixes[i], i);
  const PrefixView view = map.view();
  for (const size_t count : {0u, 1u, 2u, 31u, 64u, 65u, 128u, 255u, 256u}) {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      std::vector<IpAddress> targets;
      std::vector<const void*> pointers;
      while (targets.size() < count)
        if (const IpAddress target = random_target(rng, prefixes); target.family == family) targets.push_back(target);
      for (const IpAddress& target : targets) pointers.push_back(target.bytes.data());
      std::vector<uint32_t> values(count + 1, 0xabababab);
      if (family == Family::kIpv4)
        view.find_burst_ipv4(pointers, values);
      else
        view.find_burst_ipv6(pointers, values);
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(values[i], view.find(targets[i])) << to_string(targets[i]);
      EXPECT_EQ(values[count], 0xabababab);
    }
  }
}

// Insertions, moves and removals at random; now and then a view is taken, and answers as it did when it was taken for
// as long as its garbage is kept.
TEST(PrefixMap, OldViewsKeepTheirAnswers) {
  struct Snapshot {
    PrefixView view;
    NaiveRouter router;
    PrefixGarbage garbage;  // of the changes after the view was taken
  };
  SeededRng rng(77);
  const std::vector<Prefix> pool = clustered_prefixes(rng, 600);
  PrefixMap map;
  NaiveRouter router;
  std::map<Prefix, uint32_t> owners;
  std::deque<Snapshot> snapshots;
  for (uint32_t round = 0; round < 400; ++round) {
    for (uint32_t change = rng.below(30); change-- > 0;) {
      const Prefix& p = pool[rng.below(static_cast<uint32_t>(pool.size()))];
      const auto known = owners.find(p);
      const std::optional<uint32_t> before = known == owners.end() ? std::nullopt : std::optional(known->second);
      ASSERT_EQ(map.exact(p), before);
      if (rng.below(100) < (round / 100 % 2 == 0 ? 70u : 30u)) {  // grows, shrinks, grows, shrinks
        const uint32_t value = rng.below(1000);
        ASSERT_EQ(map.insert(p, value), before);
        router.insert(p, value);
        owners[p] = value;
      } else {
        ASSERT_EQ(map.erase(p), before);
        router.erase(p);
        owners.erase(p);
      }
      ASSERT_EQ(map.size(), owners.size());
    }
    if (!snapshots.empty()) snapshots.back().garbage = map.take_garbage();
    snapshots.push_back(Snapshot{map.view(), router, {}});
    if (snapshots.size() > 5) snapshots.pop_front();
    for (const Snapshot& s : snapshots) expect_same_answers(s.view, s.router, pool, rng, 60);
  }
  for (const auto& [p, value] : owners) ASSERT_EQ(map.erase(p), value);
  EXPECT_EQ(map.size(), 0u);
  for (const Snapshot& s : snapshots) expect_same_answers(s.view, s.router, pool, rng, 500);
  expect_same_answers(map.view(), NaiveRouter(), pool, rng, 500);
}

TEST(PrefixMap, BulkLoadLeavesNoGarbageOfBranches) {
  SeededRng rng(5);
  PrefixMap map;
  // Host routes only: leaves stay where they are when branches grow around them.
  for (uint32_t i = 0; i < 20'000; ++i) map.insert(Prefix::host(random_address(rng, Family::kIpv4)), i);
  EXPECT_LT(map.take_garbage().size(), 1000u);
  map.view();
  map.insert(prefix("198.51.100.7/32"), 1);
  EXPECT_FALSE(map.take_garbage().empty());  // readers know the nodes now
}

// One writer publishes, one reader looks up; the sanitizers see every node that is freed too early or written in sight
// of the reader.
TEST(PrefixMap, A07ReadersNeverWait) {
  SeededRng rng(7);
  const std::vector<Prefix> pool = clustered_prefixes(rng, 500);
  constexpr uint32_t kStable = 100;  // the first prefixes stay; the others come and go
  PrefixMap map;
  std::map<Prefix, uint32_t> stable;
  for (uint32_t i = 0; i < kStable; ++i) {
    map.insert(pool[i], i);
    stable[pool[i]] = i;
  }
  test::GracePeriod grace;
  std::atomic<const PrefixView*> published{new PrefixView(map.view())};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> wrong{0}, bursts{0};

  std::thread reader([&] {
    SeededRng reader_rng(8);
    std::array<IpAddress, 32> targets;
    std::array<const void*, 32> pointers;
    std::array<uint32_t, 32> values;
    while (!stop.load(std::memory_order_relaxed)) {
      const bool ipv4 = reader_rng.below(2) == 0;
      for (size_t i = 0; i < targets.size(); ++i) {
        do targets[i] = random_target(reader_rng, pool);
        while (targets[i].is_ipv4() != ipv4);
        pointers[i] = targets[i].bytes.data();
      }
      const PrefixView view = *published.load(std::memory_order_acquire);  // pairs with the exchange below
      ipv4 ? view.find_burst_ipv4(pointers, values) : view.find_burst_ipv6(pointers, values);
      for (size_t i = 0; i < values.size(); ++i) {
        const bool plausible =
            values[i] == PrefixView::kNone || (values[i] < pool.size() && pool[values[i]].contains(targets[i]));
        if (!plausible || view.find(targets[i]) != values[i]) ++wrong;
      }
      ++bursts;
      grace.quiescent();
    }
    grace.reader_left();
  });

  for (int change = 0; change < 20'000 || bursts < 100; ++change) {
    const uint32_t i = kStable + rng.below(static_cast<uint32_t>(pool.size()) - kStable);
    if (stable.contains(pool[i])) continue;
    rng.below(2) == 0 ? map.insert(pool[i], i) : map.erase(pool[i]);
    const PrefixView* old = published.exchange(new PrefixView(map.view()), std::memory_order_acq_rel);
    auto garbage = std::make_shared<PrefixGarbage>(map.take_garbage());
    grace.defer([old, garbage] { delete old; });
  }
  stop = true;
  reader.join();
  delete published.load();
  EXPECT_EQ(wrong, 0u);
  for (const auto& [p, value] : stable) EXPECT_EQ(map.exact(p), value);
}

}  // namespace
}  // namespace sluice
