// SPDX-License-Identifier: Apache-2.0
#include "cli/holders.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "support/run_as.h"

namespace passthroughfs {
namespace {

// What a child of the test holds on the file system of `path` after `take`.
std::string how_a_child_holds(const char* path, const std::function<void()>& take) {
  const test::Gate ready;
  const test::Gate done;
  test::Child child([&] {
    take();
    ready.pass();
    EXPECT_TRUE(done.wait());
  });
  EXPECT_TRUE(ready.wait());
  struct stat st {};
  EXPECT_EQ(stat(path, &st), 0);
  std::string how = "none";
  for (const Holder& holder : find_holders(st.st_dev, 10000)) {
    if (holder.pid == child.pid() && !holder.name.empty()) how = holder.how;
  }
  done.pass();
  EXPECT_TRUE(child.join());
  return how;
}

TEST(Holders, AreFoundByAnOpenFile) {
  EXPECT_EQ(
      how_a_child_holds("/proc", [] { ASSERT_GE(open("/proc/uptime", O_RDONLY | O_CLOEXEC), 0); }),
      "open file");
}

TEST(Holders, AreFoundByTheirWorkingDirectory) {
  EXPECT_EQ(how_a_child_holds("/proc", [] { ASSERT_EQ(chdir("/proc"), 0); }), "working directory");
}

TEST(Holders, AreFoundByAMapping) {
  EXPECT_EQ(
      how_a_child_holds("/dev/shm",
                        [] {
                          const int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
                          ASSERT_GE(fd, 0);
                          ASSERT_NE(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
                          close(fd);
                        }),
      "mapped file");
}

TEST(Holders, DoNotIncludeTheAskingProcess) {
  const int fd = open("/proc/uptime", O_RDONLY | O_CLOEXEC);
  struct stat st {};
  ASSERT_EQ(fstat(fd, &st), 0);
  for (const Holder& holder : find_holders(st.st_dev, 10000)) EXPECT_NE(holder.pid, getpid());
  close(fd);
}

TEST(Holders, AreNoMoreThanAskedFor) {
  struct stat st {};
  ASSERT_EQ(stat("/", &st), 0);
  EXPECT_LE(find_holders(st.st_dev, 1).size(), 1U);
}

TEST(Holders, AreNoneOnADeviceThatIsNotThere) { EXPECT_TRUE(find_holders(0xFFFFFF, 10).empty()); }

}  // namespace
}  // namespace passthroughfs
