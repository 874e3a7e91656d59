// SPDX-License-Identifier: Apache-2.0
#include "guard/pulse.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace passthroughfs {
namespace {

TEST(Pulse, SilenceGrowsFromTheLastBeatSeen) {
  Pulse pulse(100);
  EXPECT_EQ(pulse.look(1000, 7), 0U);
  EXPECT_EQ(pulse.look(1050, 7), 50U);
  EXPECT_EQ(pulse.look(1100, 7), 100U);
  EXPECT_EQ(pulse.look(1150, 8), 0U);
  EXPECT_EQ(pulse.look(1200, 8), 50U);
}

// Whoever slept over a silence has not seen it.
TEST(Pulse, ALongTimeBetweenTwoLooksCountsAsOneStep) {
  Pulse pulse(100);
  EXPECT_EQ(pulse.look(1000, 1), 0U);
  EXPECT_EQ(pulse.look(1'000'000, 1), 100U);
  EXPECT_EQ(pulse.look(1'000'010, 2), 0U);
}

TEST(Pulse, AnotherOneBeginsAnew) {
  Pulse pulse(100);
  EXPECT_EQ(pulse.look(1000, 1), 0U);
  EXPECT_EQ(pulse.look(1100, 1), 100U);
  pulse.renew();
  EXPECT_EQ(pulse.look(1200, 1), 0U);
  EXPECT_EQ(pulse.look(1300, 1), 100U);
}

TEST(ConditionOf, AThreadThatRunsAndOneThatIsNot) {
  const auto me = static_cast<pid_t>(syscall(SYS_gettid));
  EXPECT_EQ(condition_of(getpid(), me), Condition::ordinary);
  EXPECT_EQ(condition_of(getpid(), 0), Condition::ordinary);
}

}  // namespace
}  // namespace passthroughfs
