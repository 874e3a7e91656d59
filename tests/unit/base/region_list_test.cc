// SPDX-License-Identifier: Apache-2.0
#include "base/region_list.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace passthroughfs {
namespace {

struct Entry {
  std::uint64_t a;
  std::uint32_t b;
};

TEST(RegionListTest, HasWhatWasAppendedUntilItIsFull) {
  Regions regions;
  auto list = RegionList<Entry>::create("list", 3, regions);
  ASSERT_TRUE(list);
  EXPECT_TRUE(list->entries().empty());
  for (std::uint32_t i = 0; i < 3; ++i) EXPECT_TRUE(list->append({i, i * 10}));
  EXPECT_FALSE(list->append({3, 30}));
  ASSERT_EQ(list->entries().size(), 3U);
  for (std::uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(list->entries()[i].a, i);
    EXPECT_EQ(list->entries()[i].b, i * 10);
  }
  list->clear();
  EXPECT_TRUE(list->entries().empty());
  EXPECT_TRUE(list->append({7, 70}));
  EXPECT_EQ(list->entries()[0].a, 7U);
}

}  // namespace
}  // namespace passthroughfs
