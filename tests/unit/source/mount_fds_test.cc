// SPDX-License-Identifier: Apache-2.0
#include "source/mount_fds.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <iterator>
#include <memory>
#include <set>
#include <string>

#include "source/file_handle.h"
#include "support/mount_fixture.h"
#include "support/run_as.h"
#include "support/successor.h"
#include "support/temp_tree.h"

namespace passthroughfs {
namespace {

std::size_t open_descriptors() {
  const auto entries = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries))) - 1;
}

class MountFdsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_ROOT();
    ASSERT_EQ(::chmod(tree_.path().c_str(), 0755), 0);
    auto handle = FileHandle::of(directory_.borrow());
    if (!handle) GTEST_SKIP() << "no file handles here: " << handle.error().to_string();
    mount_id_ = handle->mount_id;
  }

  test::TempTree tree_;
  UniqueFd directory_{::open(tree_.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  int mount_id_ = 0;
  MountFds mounts_;
};

TEST_F(MountFdsTest, FindsWhatItRemembers) {
  EXPECT_FALSE(mounts_.knows(mount_id_));
  auto unknown = mounts_.find(mount_id_);
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error(), ENOENT);
  ASSERT_TRUE(mounts_.remember(mount_id_, directory_.borrow()).has_value());
  EXPECT_TRUE(mounts_.knows(mount_id_));
  auto found = mounts_.find(mount_id_);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(::fcntl(found->get(), F_GETFL) & O_PATH, 0) << "open_by_handle_at would refuse it";
  EXPECT_FALSE(mounts_.knows(mount_id_ + 1));
}

TEST_F(MountFdsTest, KeepsOneDescriptorPerMount) {
  ASSERT_TRUE(mounts_.remember(mount_id_, directory_.borrow()).has_value());
  const int fd = mounts_.find(mount_id_)->get();
  const std::size_t before = open_descriptors();
  ASSERT_TRUE(mounts_.remember(mount_id_, directory_.borrow()).has_value());
  EXPECT_EQ(mounts_.find(mount_id_)->get(), fd) << "others may be using it";
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(MountFdsTest, ADirectoryThatCannotBeReadIsNotRemembered) {
  ASSERT_EQ(::chmod(tree_.path().c_str(), 0711), 0);
  test::run_as(test::kAlice, [&] {
    auto remembered = mounts_.remember(mount_id_, directory_.borrow());
    ASSERT_FALSE(remembered.has_value());
    EXPECT_EQ(remembered.error(), EACCES);
    EXPECT_FALSE(mounts_.knows(mount_id_));
  });
}

// It can be read and has handles, but what is given up there could never be opened again.
TEST_F(MountFdsTest, AMountIsNotRememberedByWhoMayNotOpenByHandle) {
  test::run_as(test::kAlice, [&] {
    const std::size_t before = open_descriptors();
    auto remembered = mounts_.remember(mount_id_, directory_.borrow());
    ASSERT_FALSE(remembered.has_value());
    EXPECT_EQ(remembered.error(), EPERM);
    EXPECT_FALSE(mounts_.knows(mount_id_));
    EXPECT_EQ(open_descriptors(), before);
  });
}

// Root of a user namespace may open directories by handle on what it mounted there, and files not.
TEST_F(MountFdsTest, NorByRootOfAUserNamespace) {
  test::run_as(test::kAlice, [&] {
    // Where this is not allowed there is nothing to test.
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return;
    test::write_file("/proc/self/setgroups", "deny");
    test::write_file("/proc/self/uid_map", "0 50001 1");
    test::write_file("/proc/self/gid_map", "0 50001 1");
    const std::string place = "/tmp";
    if (::mount("none", place.c_str(), "tmpfs", 0, nullptr) != 0) return;
    const UniqueFd inside(::open(place.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    auto handle = FileHandle::of(inside.borrow());
    ASSERT_TRUE(handle.has_value());
    auto remembered = mounts_.remember(handle->mount_id, inside.borrow());
    ASSERT_FALSE(remembered.has_value());
    EXPECT_EQ(remembered.error(), EPERM);
  });
}

TEST_F(MountFdsTest, AMountOutlivesTheProcessThatRemembersIt) {
  Regions regions;
  ASSERT_TRUE(mounts_.keep(regions));
  const std::set<int> before = test::descriptor_numbers();
  ASSERT_EQ(test::run_sharing([&]() -> int {
              if (!mounts_.remember(mount_id_, directory_.borrow())) return 1;
              test::die();
            }),
            "signal 9");
  EXPECT_FALSE(mounts_.knows(mount_id_));
  std::set<int> kept = before;
  mounts_.for_each_descriptor([&](int fd) { EXPECT_TRUE(kept.insert(fd).second); });
  EXPECT_EQ(test::descriptor_numbers(), kept);
  mounts_.recover();
  EXPECT_EQ(test::descriptor_numbers(), kept);
  auto mount = mounts_.find(mount_id_);
  ASSERT_TRUE(mount);
  auto handle = FileHandle::of(directory_.borrow());
  ASSERT_TRUE(handle);
  EXPECT_TRUE(handle->open(*mount));
}

TEST_F(MountFdsTest, WhatWasRememberedBeforeIsNotTakenTwice) {
  ASSERT_TRUE(mounts_.remember(mount_id_, directory_.borrow()));
  Regions regions;
  ASSERT_TRUE(mounts_.keep(regions));
  const std::set<int> before = test::descriptor_numbers();
  ASSERT_EQ(test::run_sharing([&]() -> int {
              mounts_.recover();
              test::die();
            }),
            "signal 9");
  mounts_.recover();
  EXPECT_EQ(test::descriptor_numbers(), before);
  EXPECT_GE(::fcntl(mounts_.find(mount_id_)->get(), F_GETFD), 0);
}

// Its numbers may be another's by the time that somebody takes over.
TEST_F(MountFdsTest, AProcessThatEndsInOrderLeavesNoNumbers) {
  auto mounts = std::make_unique<MountFds>();
  Regions regions;
  ASSERT_TRUE(mounts->keep(regions));
  ASSERT_EQ(test::run_sharing([&]() -> int {
              if (!mounts->remember(mount_id_, directory_.borrow())) return 1;
              mounts.reset();
              test::die();
            }),
            "signal 9");
  mounts->for_each_descriptor([](int fd) { ADD_FAILURE() << fd; });
}

}  // namespace
}  // namespace passthroughfs
