// SPDX-License-Identifier: Apache-2.0
//
// locks=source and locks=mount: who sees a lock, and what closing costs.
#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "mount/lock_actor.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

class LockOptionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
  }

  // A mount with a file "f"; null when it does not mount.
  static std::unique_ptr<Mount> with(std::vector<std::string> options) {
    options.emplace_back("handles=table");
    auto mount = std::make_unique<Mount>(MountSettings{.options = std::move(options)});
    if (mount->ok()) write_file(mount->source("f"), "0123456789");
    return mount;
  }

  static std::string take(Actor& actor, int command = F_SETLK) {
    return Actor::name(actor.call(Actor::lock_command(command, F_WRLCK)));
  }
};

TEST_F(LockOptionTest, LocksOfTheMountExcludeItsUsersAndNobodyElse) {
  const auto mount = with({"locks=mount"});
  ASSERT_TRUE(mount->ok());
  Actor one(mount->mnt("f")), two(mount->mnt("f")), behind(mount->source("f"));
  EXPECT_EQ(take(one), "ok");
  EXPECT_EQ(take(two), "EAGAIN");
  EXPECT_EQ(take(behind), "ok") << "seen on the source";
  EXPECT_EQ(mount->requests("SETLK"), 0U);
}

TEST_F(LockOptionTest, LocksOfTheSourceExcludeEverybody) {
  const auto mount = with({"locks=source", "cache=forever"});
  ASSERT_TRUE(mount->ok());
  Actor one(mount->mnt("f")), behind(mount->source("f"));
  EXPECT_EQ(take(one), "ok");
  EXPECT_EQ(take(behind), "EAGAIN");
}

TEST_F(LockOptionTest, APosixLockOfTheMountEndsWhenItsOwnerClosesAnyDescriptor) {
  const auto mount = with({"locks=mount"});
  ASSERT_TRUE(mount->ok());
  Actor one(mount->mnt("f")), two(mount->mnt("f"));
  ASSERT_EQ(Actor::name(one.call({.op = Op::kOpen, .slot = 1, .number = O_RDONLY})), "ok");
  ASSERT_EQ(take(one), "ok");
  ASSERT_EQ(take(two), "EAGAIN");
  EXPECT_EQ(Actor::name(one.call({.op = Op::kClose, .slot = 1})), "ok");
  EXPECT_EQ(take(two), "ok");
}

// Locks need no FLUSH then, and closing on this source has nothing to report.
TEST_F(LockOptionTest, ClosingAsksNobodyWhenLocksStayInTheKernel) {
  const auto opens = [](const Mount& mount) {
    for (int i = 0; i < 10; ++i) EXPECT_EQ(try_open(mount.mnt("f"), O_RDONLY), 0);
  };
  const auto mount = with({"locks=mount"});
  ASSERT_TRUE(mount->ok());
  opens(*mount);
  EXPECT_EQ(mount->requests("OPEN"), 10U);
  EXPECT_EQ(mount->requests("FLUSH"), 0U);

  const auto other = with({"locks=source"});
  ASSERT_TRUE(other->ok());
  opens(*other);
  EXPECT_EQ(other->requests("FLUSH"), 10U) << "nothing would drop the locks of who closes";
}

TEST_F(LockOptionTest, AutoTrustsCacheForever) {
  const auto says = [](const Mount& mount) { return mount.command({"stats", mount.mnt("")}).out; };
  const auto shared = with({});
  ASSERT_TRUE(shared->ok());
  EXPECT_NE(says(*shared).find(", locks source,"), std::string::npos) << says(*shared);
  const auto alone = with({"cache=forever"});
  ASSERT_TRUE(alone->ok());
  EXPECT_NE(says(*alone).find(", locks mount,"), std::string::npos) << says(*alone);
}

// Pages that a mapping has dirtied are written back at close with io=daemon; that needs FLUSH.
TEST_F(LockOptionTest, AWriterThroughTheDaemonStillFlushes) {
  const auto mount = with({"locks=mount", "io=daemon"});
  ASSERT_TRUE(mount->ok());
  EXPECT_EQ(try_open(mount->mnt("f"), O_RDWR), 0);
  EXPECT_EQ(mount->requests("FLUSH"), 1U);
  EXPECT_EQ(try_open(mount->mnt("f"), O_RDONLY), 0);
  EXPECT_EQ(mount->requests("FLUSH"), 1U);
}

}  // namespace
}  // namespace passthroughfs::test
