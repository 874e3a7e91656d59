// SPDX-License-Identifier: Apache-2.0
#include "table/ledger.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace passthroughfs {
namespace {

constexpr std::size_t kRoom = 4096;

bool is_zero(ByteSpan bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

TEST(LedgersTest, OnlyThoseThatWereTakenHaveBeenUsed) {
  auto all = Ledgers::create(100, kRoom);
  ASSERT_TRUE(all);
  Ledgers& ledgers = **all;
  EXPECT_EQ(ledgers.used(), 0U);
  Ledger* const first = ledgers.take();
  Ledger* const second = ledgers.take();
  ASSERT_TRUE(first != nullptr && second != nullptr);
  EXPECT_EQ(ledgers.used(), 2U);
  ledgers.give_back(*first);
  EXPECT_EQ(ledgers.take(), first) << "else there would be more and more of them";
  EXPECT_EQ(ledgers.used(), 2U);
}

TEST(LedgersTest, RoomsAreGivenBackOfThoseThatHaveNothingToSay) {
  auto all = Ledgers::create(100, kRoom);
  ASSERT_TRUE(all);
  Ledgers& ledgers = **all;
  Ledger* const over = ledgers.take();
  Ledger* const speaks = ledgers.take();
  Ledger* const serves = ledgers.take();
  for (Ledger* ledger : {over, speaks, serves}) {
    const MutableByteSpan room = ledgers.room(*ledger);
    std::fill(room.begin(), room.end(), std::byte{1});
  }
  speaks->unique.store(7);
  ledgers.give_back(*over);
  ledgers.give_back(*speaks);
  ledgers.free_unused_rooms();
  EXPECT_TRUE(is_zero(ledgers.room(*over)));
  EXPECT_FALSE(is_zero(ledgers.room(*speaks))) << "its request may come again";
  EXPECT_FALSE(is_zero(ledgers.room(*serves)));
}

}  // namespace
}  // namespace passthroughfs
