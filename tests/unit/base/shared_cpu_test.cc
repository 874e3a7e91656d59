// SPDX-License-Identifier: Apache-2.0
#include "base/shared_cpu.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/cpu_list.h"

namespace passthroughfs {
namespace {

using Cpus = std::vector<int>;

TEST(KeepingAway, LeavesTheSharedCpuAndComesBack) {
  const Cpus all = usable_cpus();
  if (all.size() < 2) GTEST_SKIP() << "needs two CPUs";
  // Only this thread's CPUs change.
  std::thread([&all] {
    KeepingAway keeping_away;
    keeping_away.look();
    EXPECT_EQ(usable_cpus(), all);
    set_shared_cpu(all.back());
    keeping_away.look();
    EXPECT_EQ(usable_cpus(), Cpus(all.begin(), all.end() - 1));
    set_shared_cpu(all.front());
    keeping_away.look();
    EXPECT_EQ(usable_cpus(), Cpus(all.begin() + 1, all.end()));
    set_shared_cpu(-1);
    keeping_away.look();
    EXPECT_EQ(usable_cpus(), all);
  }).join();
}

TEST(KeepingAway, StaysWhereThereIsNoOtherCpu) {
  const Cpus all = usable_cpus();
  std::thread([&all] {
    const Cpus one{all.front()};
    ASSERT_TRUE(bind_to(0, one));
    KeepingAway keeping_away;
    set_shared_cpu(all.front());
    keeping_away.look();
    EXPECT_EQ(usable_cpus(), one);
    set_shared_cpu(-1);
    keeping_away.look();
    EXPECT_EQ(usable_cpus(), one);
  }).join();
}

}  // namespace
}  // namespace passthroughfs
