// SPDX-License-Identifier: Apache-2.0
#include "base/cpu_list.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace passthroughfs {
namespace {

using Cpus = std::vector<int>;

TEST(CpuList, ReadsWhatTheKernelWrites) {
  EXPECT_EQ(*parse_cpu_list("0\n"), (Cpus{0}));
  EXPECT_EQ(*parse_cpu_list("0-3\n"), (Cpus{0, 1, 2, 3}));
  EXPECT_EQ(*parse_cpu_list("0-1,4,6-7"), (Cpus{0, 1, 4, 6, 7}));
}

TEST(CpuList, RefusesEverythingElse) {
  for (const char* text : {"", "\n", "a", "0,", ",0", "0-", "-1", "3-1", "1,0", "0-2,2", "0 1",
                           "99999999999", "0-65536", "0x1"}) {
    EXPECT_FALSE(parse_cpu_list(text)) << text;
  }
}

TEST(CpuList, KnowsThisMachine) {
  const auto possible = system_cpus("possible");
  const auto online = system_cpus("online");
  ASSERT_TRUE(possible && online);
  const Cpus usable = usable_cpus();
  EXPECT_FALSE(usable.empty());
  EXPECT_TRUE(std::includes(possible->begin(), possible->end(), online->begin(), online->end()));
  EXPECT_TRUE(std::includes(possible->begin(), possible->end(), usable.begin(), usable.end()));
  EXPECT_EQ(system_cpus("no-such-list").error(), ENOENT);
}

}  // namespace
}  // namespace passthroughfs
