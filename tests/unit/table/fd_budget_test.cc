// SPDX-License-Identifier: Apache-2.0
#include "table/fd_budget.h"

#include <gtest/gtest.h>

namespace passthroughfs {
namespace {

TEST(FdBudgetTest, KeepsAQuarterForOthers) {
  EXPECT_EQ(FdBudget(4096).budget(), 3072U);
  EXPECT_EQ(FdBudget(1'000'000).budget(), 750'000U);
}

TEST(FdBudgetTest, KeepsAtLeast64ForOthers) { EXPECT_EQ(FdBudget(128).budget(), 64U); }

TEST(FdBudgetTest, LeavesInodes16HoweverSmallTheLimitIs) {
  for (const std::uint64_t limit : {8U, 64U, 65U, 79U, 80U}) {
    EXPECT_EQ(FdBudget(limit).budget(), 16U) << limit;
  }
}

TEST(FdBudgetTest, NeverShrinksAsTheLimitGrows) {
  for (std::uint64_t limit = 1; limit < 1000; ++limit) {
    EXPECT_LE(FdBudget(limit).budget(), FdBudget(limit + 1).budget()) << limit;
  }
}

TEST(FdBudgetTest, CountsWhatIsHeld) {
  FdBudget budget(128);
  for (int i = 0; i < 64; ++i) budget.add();
  EXPECT_FALSE(budget.exceeded());
  budget.add();
  EXPECT_TRUE(budget.exceeded());
  budget.remove();
  EXPECT_FALSE(budget.exceeded());
  EXPECT_EQ(budget.held(), 64U);
}

TEST(FdBudgetTest, IsExhaustedWhenHalfOfTheReserveIsGoneToo) {
  FdBudget budget(128);
  for (int i = 0; i < 96; ++i) budget.add();
  EXPECT_FALSE(budget.exhausted());
  budget.add();
  EXPECT_TRUE(budget.exhausted());
}

TEST(FdBudgetTest, IsExhaustedByTheBudgetWhereThereIsNoReserve) {
  FdBudget budget(8);
  for (int i = 0; i < 16; ++i) budget.add();
  EXPECT_FALSE(budget.exhausted());
  budget.add();
  EXPECT_TRUE(budget.exhausted());
}

}  // namespace
}  // namespace passthroughfs
