// SPDX-License-Identifier: Apache-2.0
#include "session/recovery.h"

#include <gtest/gtest.h>

namespace passthroughfs {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;

TEST(Recovery, ARequestThatEndsEachProcessAtOnceIsBlamedAtTheThird) {
  std::uint32_t blame = 0;
  int deaths = 0;
  for (; blame < Recovery::kMostBlame; ++deaths) {
    EXPECT_EQ(blame >= Recovery::kSuspect, deaths >= 2);
    blame += Recovery::blame_for(1000 * kMillisecond, 1001 * kMillisecond);
  }
  EXPECT_EQ(deaths, 3);
}

TEST(Recovery, ASlowOneThatIsOnlyThereEachTimeIsNot) {
  std::uint32_t blame = 0;
  for (int deaths = 0; deaths < 10; ++deaths) {
    blame += Recovery::blame_for(1000 * kMillisecond, 1100 * kMillisecond);
  }
  EXPECT_LT(blame, Recovery::kSuspect);
}

TEST(Recovery, ADeathThatNobodyHasTimedCountsInFull) {
  EXPECT_EQ(Recovery::blame_for(kMillisecond, 0), Recovery::blame_for(0, kMillisecond));
}

}  // namespace
}  // namespace passthroughfs
