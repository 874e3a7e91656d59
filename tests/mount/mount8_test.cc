// SPDX-License-Identifier: Apache-2.0
//
// Mounted by mount(8) and fstab(5), which know nothing of this program but its name: fuse3's
// mount.fuse makes a command line of what they say.
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "command_fixture.h"

namespace passthroughfs::test {
namespace {

constexpr const char* kHelper = "/sbin/mount.fuse3";

class Mount8Test : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    PFS_NEEDS_ROOT();
    if (access(kHelper, X_OK) != 0) GTEST_SKIP() << "fuse3 is not installed: no " << kHelper;
  }
  void expect_served() const {
    EXPECT_EQ(read_file(mnt_ + "/f"), "content");
    EXPECT_NE(mount_line(mnt_).find(" - fuse.passthroughfs " + source_ + " "), std::string::npos)
        << mount_line(mnt_);
  }
  // By umount(8), as anybody does it.
  void expect_unmounted() const {
    EXPECT_EQ(run_program({"umount", mnt_}).exit_code, 0);
    EXPECT_FALSE(mounted());
  }
  bool has_flag(const std::string& flag) const {
    const std::string line = mount_line(mnt_);
    return ("," + line.substr(0, line.find(" - ")) + ",").find(flag) != std::string::npos;
  }
};

// What mount(8) gives to the helper for a type, whose program the shell then looks for in PATH.
TEST_F(Mount8Test, ByTheTypeAsMountCallsTheHelper) {
  const TempTree bin;
  std::filesystem::create_symlink(program_path(), bin / "passthroughfs");
  const ProgramResult done = run_program(
      {kHelper, source_, mnt_, "-o",
       "rw,nodev,noexec,nosuid,allow_other,_netdev,nofail,journal=off", "-t", "fuse.passthroughfs"},
      {"PATH=" + bin.path() + ":/usr/sbin:/usr/bin:/sbin:/bin"});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  expect_served();
  EXPECT_TRUE(has_flag("nodev") && has_flag("noexec") && has_flag("nosuid")) << mount_line(mnt_);
  expect_unmounted();
}

// mount(8) itself, which calls the helper without PATH: so with the program's path in the source.
TEST_F(Mount8Test, ByMountWithEveryOptionThatIsForOthers) {
  const ProgramResult done = run_program(
      {"mount", "-t", "fuse", program_path() + "#" + source_, mnt_, "-o",
       "defaults,allow_other,_netdev,nofail,noauto,user,x-systemd.requires-mounts-for=/srv,"
       "X-something=1,comment=text,group,owner,ro,relatime,nodiratime,lazytime,silent,iversion,"
       "journal=off"});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  expect_served();
  EXPECT_TRUE(has_flag("ro")) << mount_line(mnt_);
  EXPECT_TRUE(has_flag("nodev") && has_flag("nosuid") && has_flag("noexec"))
      << "user means these: " << mount_line(mnt_);
  expect_unmounted();
}

TEST_F(Mount8Test, WhatUndoesAnOptionIsUnderstood) {
  const ProgramResult done =
      run_program({"mount", "-t", "fuse", program_path() + "#" + source_, mnt_, "-o",
                   "ro,nodev,nosuid,noexec,noatime,rw,dev,suid,exec,strictatime,journal=off"});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  expect_served();
  write_file(mnt_ + "/g", "written");
  EXPECT_FALSE(has_flag("nodev") || has_flag("nosuid") || has_flag("noexec")) << mount_line(mnt_);
  expect_unmounted();
}

TEST_F(Mount8Test, ByALineOfFstab) {
  write_file(tree_ / "fstab", program_path() + "#" + source_ + " " + mnt_ +
                                  " fuse defaults,allow_other,_netdev,journal=off,"
                                  "x-systemd.requires-mounts-for=" +
                                  source_ + " 0 0\n");
  const ProgramResult done = run_program({"mount", "-T", tree_ / "fstab", mnt_});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  expect_served();
  expect_unmounted();
}

TEST_F(Mount8Test, AFailureIsMountsFailure) {
  const ProgramResult done = run_program(
      {"mount", "-t", "fuse", program_path() + "#" + source_, mnt_, "-o", "cache=never"});
  EXPECT_NE(done.exit_code, 0);
  EXPECT_NE(done.err.find("bad value 'never'"), std::string::npos) << done.err;
  EXPECT_FALSE(mounted());
}

TEST_F(Mount8Test, PrivilegesThatTheHelperDropsAreRefusedClearly) {
  const ProgramResult done = run_program({"mount", "-t", "fuse", program_path() + "#" + source_,
                                          mnt_, "-o", "drop_privileges,journal=off"});
  EXPECT_NE(done.exit_code, 0);
  EXPECT_NE(done.err.find("drop_privileges says: that is not supported"), std::string::npos)
      << done.err;
  (void)umount2(mnt_.c_str(), MNT_DETACH);  // the helper's
}

}  // namespace
}  // namespace passthroughfs::test
