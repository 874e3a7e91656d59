// SPDX-License-Identifier: Apache-2.0
#include "ops/listing_habits.h"

#include <gtest/gtest.h>

namespace passthroughfs {
namespace {

constexpr std::uint32_t kThread = 4711;

// Lists a directory of `entries` and looks at `looks` of them; whether attributes came along.
bool walk(ListingHabits& habits, NodeId directory, std::uint32_t entries, std::uint32_t looks,
          std::uint32_t thread = kThread) {
  const bool attributes = habits.wants_attributes(thread, directory, true);
  if (attributes) return true;
  habits.listed_bare(directory, entries);
  for (std::uint32_t i = 0; i < looks; ++i) habits.looked_up(directory);
  return false;
}

TEST(ListingHabits, BeginWithNamesAlone) {
  ListingHabits habits;
  EXPECT_FALSE(walk(habits, 10, 100, 0));
  EXPECT_FALSE(walk(habits, 11, 100, 0));
}

TEST(ListingHabits, BringAttributesToWhoLookedAtAQuarter) {
  ListingHabits habits;
  EXPECT_FALSE(walk(habits, 10, 100, 24));
  EXPECT_FALSE(walk(habits, 11, 100, 25));
  EXPECT_TRUE(walk(habits, 12, 100, 0));
}

TEST(ListingHabits, AskAgainAfterAWhile) {
  ListingHabits habits;
  EXPECT_FALSE(walk(habits, 10, 4, 4));
  for (std::uint32_t i = 0; i < ListingHabits::kTrusted; ++i)
    EXPECT_TRUE(walk(habits, 11 + i, 4, 0));
  EXPECT_FALSE(walk(habits, 99, 4, 0));
  EXPECT_FALSE(walk(habits, 100, 4, 0));
}

TEST(ListingHabits, TheRestOfADirectoryComesAsItsUseSuggests) {
  ListingHabits habits;
  EXPECT_FALSE(habits.wants_attributes(kThread, 10, true));
  habits.listed_bare(10, 40);
  EXPECT_FALSE(habits.wants_attributes(kThread, 10, false));
  habits.listed_bare(10, 40);
  for (int i = 0; i < 20; ++i) habits.looked_up(10);
  EXPECT_TRUE(habits.wants_attributes(kThread, 10, false));
}

TEST(ListingHabits, AreAThreadsOwn) {
  ListingHabits habits;
  EXPECT_FALSE(walk(habits, 10, 4, 4));
  EXPECT_FALSE(habits.wants_attributes(kThread + 1, 11, true));
  EXPECT_TRUE(habits.wants_attributes(kThread, 12, true));
}

TEST(ListingHabits, LookupsElsewhereCountForNothing) {
  ListingHabits habits;
  EXPECT_FALSE(habits.wants_attributes(kThread, 10, true));
  habits.listed_bare(10, 4);
  for (int i = 0; i < 100; ++i) habits.looked_up(1000 + static_cast<NodeId>(i));
  EXPECT_FALSE(habits.wants_attributes(kThread, 11, true));
}

}  // namespace
}  // namespace passthroughfs
