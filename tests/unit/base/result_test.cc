// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace passthroughfs {
namespace {

Result<int> number(bool good) {
  if (good) return 7;
  return Err(ENOENT);
}

Result<void> nothing(bool good) {
  if (good) return ok();
  return Err(EPERM);
}

TEST(Result, HoldsAValue) {
  const Result<int> result = number(true);
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(static_cast<bool>(result));
  EXPECT_EQ(*result, 7);
}

TEST(Result, HoldsAnError) {
  const Result<int> result = number(false);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error(), ENOENT);
}

TEST(Result, OfVoidHoldsSuccessOrAnError) {
  EXPECT_TRUE(nothing(true));
  const Result<void> bad = nothing(false);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error(), EPERM);
}

TEST(Result, MovesAMoveOnlyValueOut) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(3));
  const std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 3);
}

TEST(Result, ReachesMembers) {
  const Result<std::string> result(std::string("abc"));
  EXPECT_EQ(result->size(), 3U);
}

TEST(Check, TakesNegativeAsErrno) {
  errno = EBUSY;
  EXPECT_EQ(check(-1).error(), EBUSY);
  EXPECT_EQ(check_void(-1L).error(), EBUSY);
}

TEST(Check, TakesTheRestAsValues) {
  EXPECT_EQ(*check(0), 0);
  EXPECT_EQ(*check(std::int64_t{1} << 40), std::int64_t{1} << 40);
  EXPECT_TRUE(check_void(5));
}

Result<int> doubled(bool good, int& reached) {
  const int value = TRY(number(good));
  ++reached;
  return value * 2;
}

TEST(Try, GivesTheValue) {
  int reached = 0;
  EXPECT_EQ(*doubled(true, reached), 14);
  EXPECT_EQ(reached, 1);
}

TEST(Try, ReturnsTheErrorFromTheFunction) {
  int reached = 0;
  EXPECT_EQ(doubled(false, reached).error(), ENOENT);
  EXPECT_EQ(reached, 0);
}

Result<int> after_nothing(bool good) {
  TRY(nothing(good));
  return 1;
}

TEST(Try, WorksWithoutAValueAndBetweenResultTypes) {
  EXPECT_EQ(*after_nothing(true), 1);
  EXPECT_EQ(after_nothing(false).error(), EPERM);
}

Result<std::unique_ptr<int>> passed_on() {
  return TRY(Result<std::unique_ptr<int>>(std::make_unique<int>(9)));
}

TEST(Try, MovesMoveOnlyValues) { EXPECT_EQ(**passed_on(), 9); }

Result<int> evaluated(int& times) {
  return TRY([&]() -> Result<int> { return ++times; }());
}

TEST(Try, EvaluatesItsExpressionOnce) {
  int times = 0;
  EXPECT_EQ(*evaluated(times), 1);
  EXPECT_EQ(times, 1);
}

}  // namespace
}  // namespace passthroughfs
