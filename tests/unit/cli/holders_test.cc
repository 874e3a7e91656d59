// SPDX-License-Identifier: Apache-2.0
#include "cli/holders.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "support/run_as.h"

namespace passthroughfs {
namespace {

TEST(Holders, AreFoundByAnOpenFile) {
  // A device that nothing else uses: the kernel's own mount of memory files is not among them, so a
  // pipe's device serves, which only processes with pipes hold.
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  struct stat st {};
  ASSERT_EQ(fstat(ends[0], &st), 0);
  const auto holders = find_holders(st.st_dev, 10000);
  EXPECT_TRUE(std::any_of(holders.begin(), holders.end(), [](const Holder& holder) {
    return holder.pid == getpid() && holder.how == "open file" && !holder.name.empty();
  }));
  close(ends[0]);
  close(ends[1]);
}

TEST(Holders, AreFoundByTheirWorkingDirectory) {
  test::in_child([] {
    ASSERT_EQ(chdir("/proc"), 0);
    struct stat st {};
    ASSERT_EQ(stat("/proc", &st), 0);
    const auto holders = find_holders(st.st_dev, 10000);
    EXPECT_TRUE(std::any_of(holders.begin(), holders.end(), [](const Holder& holder) {
      return holder.pid == getpid() && holder.how == "working directory";
    }));
  });
}

TEST(Holders, AreNoMoreThanAskedFor) {
  struct stat st {};
  ASSERT_EQ(stat("/", &st), 0);
  EXPECT_LE(find_holders(st.st_dev, 1).size(), 1U);
}

TEST(Holders, AreNoneOnADeviceThatIsNotThere) { EXPECT_TRUE(find_holders(0xFFFFFF, 10).empty()); }

}  // namespace
}  // namespace passthroughfs
