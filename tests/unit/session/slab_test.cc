#include "dataplane/session/slab.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <vector>

#include "dataplane/session/huge_pages.h"
#include "dataplane/session/peer.h"

namespace sluice {
namespace {

TEST(Slab, ObjectsDoNotOverlapOverSeveralPages) {
  constexpr size_t kSize = 192, kCount = 3 * kHugePage / kSize;
  Slab slab(kSize);
  std::vector<uint8_t*> objects;
  for (size_t i = 0; i < kCount; ++i) {
    objects.push_back(static_cast<uint8_t*>(slab.allocate()));
    ASSERT_EQ(reinterpret_cast<uintptr_t>(objects.back()) % 64, 0u);
    std::memset(objects.back(), static_cast<int>(i % 251), kSize);
  }
  for (size_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(objects[i][0], i % 251);
    ASSERT_EQ(objects[i][kSize - 1], i % 251);
  }
  for (uint8_t* object : objects) slab.release(object);
}

TEST(Slab, WhatIsReleasedIsUsedAgain) {
  const size_t before = Slab::bytes_in_use();
  Slab slab(128);
  std::set<void*> objects;
  for (int i = 0; i < 100; ++i) objects.insert(slab.allocate());
  EXPECT_EQ(objects.size(), 100u);
  EXPECT_EQ(Slab::bytes_in_use(), before + 100 * 128);
  for (void* object : objects) slab.release(object);
  slab.release(nullptr);
  EXPECT_EQ(Slab::bytes_in_use(), before);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(objects.contains(slab.allocate()));
  for (void* object : objects) slab.release(object);
}

TEST(Slab, KeysAndRoutesLieInWholeLines) {
  const size_t before = Slab::bytes_in_use();
  const auto key = std::make_unique<SendingKey>();
  const auto route = std::make_unique<OuterRoute>();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(key.get()) % alignof(SendingKey), 0u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(route.get()) % alignof(OuterRoute), 0u);
  EXPECT_EQ(Slab::bytes_in_use() - before, sizeof(SendingKey) + sizeof(OuterRoute));
}

TEST(HugePages, StartWhereAHugePageDoesAndAreZero) {
  for (const size_t bytes : {size_t{100}, kHugePage, kHugePage + 1, 3 * kHugePage}) {
    auto* const pages = static_cast<uint8_t*>(map_pages(bytes));
    if (bytes >= kHugePage) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(pages) % kHugePage, 0u);
    }
    EXPECT_EQ(pages[0], 0);
    EXPECT_EQ(pages[bytes - 1], 0);
    pages[bytes - 1] = 1;
    unmap_pages(pages, bytes);
  }
}

}  // namespace
}  // namespace sluice
