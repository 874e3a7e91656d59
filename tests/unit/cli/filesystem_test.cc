// SPDX-License-Identifier: Apache-2.0
//
// The embedding interface, in a process that goes on living after its mounts.
#include "passthroughfs/filesystem.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <thread>

#include "passthroughfs/client.h"
#include "proto/mount_point.h"
#include "support/run_as.h"
#include "support/temp_tree.h"
#include "support/wait_until.h"

namespace passthroughfs {
namespace {

bool is_mounted(const std::string& path) {
  const auto found = find_mount_point(path);
  return found && found->is_root && found->is_fuse();
}

std::string content(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

int open_descriptors() {
  int count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

class FilesystemTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "cannot open /dev/fuse";
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to mount without fusermount3";
  }

  test::TempTree tree_;
  const std::string source_ = tree_.make_dir("source");
  const std::string mountpoint_ = tree_.make_dir("mount");
};

TEST_F(FilesystemTest, ServesUntilItIsStopped) {
  Filesystem filesystem(source_, mountpoint_);
  const auto mounted = filesystem.mount();
  ASSERT_TRUE(mounted) << mounted.error().message;
  std::ofstream(mountpoint_ + "/file") << "text";
  EXPECT_EQ(content(source_ + "/file"), "text");
  std::thread runner([&] {
    const auto ended = filesystem.run();
    EXPECT_TRUE(ended) << ended.error().message;
  });
  const auto stopped = filesystem.stop();
  EXPECT_TRUE(stopped) << stopped.error().message;
  runner.join();
  EXPECT_FALSE(is_mounted(mountpoint_));
}

TEST_F(FilesystemTest, EndsWhenSomebodyElseUnmounts) {
  Filesystem filesystem(source_, mountpoint_);
  ASSERT_TRUE(filesystem.mount());
  ASSERT_EQ(umount2(mountpoint_.c_str(), 0), 0);
  const auto ended = filesystem.run();
  EXPECT_TRUE(ended) << ended.error().message;
  EXPECT_TRUE(filesystem.stop());
}

TEST_F(FilesystemTest, ItsDestructorUnmounts) {
  const int before = open_descriptors();
  {
    Filesystem filesystem(source_, mountpoint_);
    ASSERT_TRUE(filesystem.mount());
    EXPECT_TRUE(is_mounted(mountpoint_));
  }
  EXPECT_FALSE(is_mounted(mountpoint_));
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(FilesystemTest, StopIsHarmlessWhenNothingIsMounted) {
  Filesystem filesystem(source_, mountpoint_);
  EXPECT_TRUE(filesystem.stop());
  const auto ended = filesystem.run();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, EINVAL);
}

TEST_F(FilesystemTest, TakesOptionsUntilItIsMounted) {
  Filesystem filesystem(source_, mountpoint_);
  EXPECT_TRUE(filesystem.configure("ro"));
  EXPECT_TRUE(filesystem.configure("fsname", "a name"));
  const auto unknown = filesystem.configure("cahce", "none");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().message, "unknown option 'cahce'; did you mean 'cache'?");
  ASSERT_TRUE(filesystem.mount());
  EXPECT_FALSE(filesystem.configure("cache", "none"));
  EXPECT_EQ(find_mount_point(mountpoint_)->source, "a name");
  EXPECT_EQ(mkdir((mountpoint_ + "/d").c_str(), 0755), -1);
  EXPECT_EQ(errno, EROFS);
}

TEST_F(FilesystemTest, AFailedMountLeavesNothing) {
  const int before = open_descriptors();
  {
    Filesystem filesystem(source_, source_ + "/none");
    const auto mounted = filesystem.mount();
    ASSERT_FALSE(mounted);
    EXPECT_EQ(mounted.error().code, ENOENT);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(FilesystemTest, SeveralLiveInOneProcess) {
  const std::string other = tree_.make_dir("other");
  Filesystem first(source_, mountpoint_);
  Filesystem second(source_, other);
  ASSERT_TRUE(first.mount());
  ASSERT_TRUE(second.mount());
  std::ofstream(mountpoint_ + "/file") << "text";
  EXPECT_EQ(content(other + "/file"), "text");
}

TEST_F(FilesystemTest, LeavesTheProcessAsItIs) {
  const mode_t mask = umask(077);
  {
    Filesystem filesystem(source_, mountpoint_);
    ASSERT_TRUE(filesystem.mount());
    // The mount serves with its own umask: the client's is what counts.
    test::in_child([&] {
      umask(022);
      const int fd = creat((mountpoint_ + "/file").c_str(), 0666);
      ASSERT_GE(fd, 0);
      struct stat st {};
      ASSERT_EQ(fstat(fd, &st), 0);
      EXPECT_EQ(st.st_mode & 0777U, 0644U);
    });
  }
  EXPECT_EQ(umask(mask), mode_t{077});
  EXPECT_EQ(system("true"), 0) << "programs can still be started";
}

TEST_F(FilesystemTest, IsFoundByTheControlClientUnlessItIsNotOffered) {
  {
    Filesystem filesystem(source_, mountpoint_);
    ASSERT_TRUE(filesystem.mount());
    auto client = Client::connect(mountpoint_);
    ASSERT_TRUE(client) << client.error().message;
    EXPECT_EQ(client->info()->mountpoint, mountpoint_);
    const int fd = open((mountpoint_ + "/f").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    ASSERT_GE(fd, 0);
    const auto files = client->handles();
    ASSERT_TRUE(files);
    ASSERT_EQ(files->size(), 1U);
    EXPECT_EQ((*files)[0].path, "f");
    EXPECT_EQ((*files)[0].pid, static_cast<std::uint32_t>(getpid()));
    close(fd);
  }
  Filesystem filesystem(source_, mountpoint_);
  filesystem.offer_control(false);
  ASSERT_TRUE(filesystem.mount());
  EXPECT_FALSE(Client::connect(mountpoint_));
}

TEST_F(FilesystemTest, TheControlClientCanUnmount) {
  Filesystem filesystem(source_, mountpoint_);
  ASSERT_TRUE(filesystem.mount());
  auto client = Client::connect(mountpoint_);
  ASSERT_TRUE(client);
  std::thread runner([&] { EXPECT_TRUE(filesystem.run()); });
  const auto done = client->unmount();
  EXPECT_TRUE(done) << done.error().message;
  runner.join();
  EXPECT_FALSE(is_mounted(mountpoint_));
}

TEST_F(FilesystemTest, StopDetachesABusyMountAtOnce) {
  Filesystem filesystem(source_, mountpoint_);
  ASSERT_TRUE(filesystem.mount());
  std::ofstream(source_ + "/file") << "text";
  const int fd = open((mountpoint_ + "/file").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  std::thread stopper([&] { EXPECT_TRUE(filesystem.stop()); });
  EXPECT_TRUE(test::wait_until([&] { return !is_mounted(mountpoint_); }));
  // The file still works while it is open, and its close is what the end waits for.
  char byte = 0;
  EXPECT_EQ(pread(fd, &byte, 1, 0), 1);
  close(fd);
  const auto ended = filesystem.run();
  EXPECT_TRUE(ended) << ended.error().message;
  stopper.join();
}

}  // namespace
}  // namespace passthroughfs
