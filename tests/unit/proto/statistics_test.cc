// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "passthroughfs/client.h"

namespace passthroughfs {
namespace {

TEST(Percentile, IsZeroWithoutRequests) {
  const OperationStatistics none;
  EXPECT_EQ(none.percentile_ns(0.5), 0);
  EXPECT_EQ(none.max_ns(), 0);
  OperationStatistics empty;
  empty.latency = {0, 0, 0};
  EXPECT_EQ(empty.percentile_ns(0.99), 0);
  EXPECT_EQ(empty.max_ns(), 0);
}

TEST(Percentile, LiesEvenlyInItsBucket) {
  OperationStatistics operation;
  operation.latency = {0, 0, 0, 100};  // 8 to 16 ns
  EXPECT_DOUBLE_EQ(operation.percentile_ns(0), 8);
  EXPECT_DOUBLE_EQ(operation.percentile_ns(0.5), 12);
  EXPECT_DOUBLE_EQ(operation.percentile_ns(1), 16);
  EXPECT_DOUBLE_EQ(operation.max_ns(), 16);
}

TEST(Percentile, FindsItsBucket) {
  OperationStatistics operation;
  operation.latency = {50, 0, 49, 0, 1};
  EXPECT_DOUBLE_EQ(operation.percentile_ns(0.5), 2);
  EXPECT_GT(operation.percentile_ns(0.9), 4);
  EXPECT_LT(operation.percentile_ns(0.9), 8);
  EXPECT_DOUBLE_EQ(operation.percentile_ns(0.99), 8);
  EXPECT_GT(operation.percentile_ns(0.995), 16);
  EXPECT_DOUBLE_EQ(operation.max_ns(), 32);
}

}  // namespace
}  // namespace passthroughfs
