// SPDX-License-Identifier: Apache-2.0
#include "proto/mount_point.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "support/temp_tree.h"

namespace passthroughfs {
namespace {

constexpr std::string_view kTable =
    "21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    "90 21 0:53 / /mnt/a\\040b rw,nosuid - fuse.passthroughfs /srv\\011x "
    "rw,user_id=1000,group_id=100\n"
    "91 21 0:53 /a\\040b/c /other rw shared:7 master:2 - fuse.passthroughfs /srv2 rw,user_id=7\n"
    "92 21 0:54 / /broken\n"
    "\n";

TEST(MountTable, GivesTypeSourceAndOwner) {
  MountPoint found;
  ASSERT_TRUE(parse_mount_table(kTable, makedev(0, 53), 90, found));
  EXPECT_EQ(found.fs_type, "fuse.passthroughfs");
  EXPECT_EQ(found.source, "/srv\tx");
  EXPECT_EQ(found.root, "/");
  EXPECT_TRUE(found.owner_known);
  EXPECT_EQ(found.owner, 1000U);
  EXPECT_TRUE(found.is_fuse());
}

TEST(MountTable, PicksTheMountByItsNumber) {
  MountPoint found;
  ASSERT_TRUE(parse_mount_table(kTable, makedev(0, 53), 91, found));
  EXPECT_EQ(found.owner, 7U);
}

TEST(MountTable, TellsWhichDirectoryIsMounted) {
  MountPoint found;
  ASSERT_TRUE(parse_mount_table(kTable, makedev(0, 53), 91, found));
  EXPECT_EQ(found.root, "/a b/c");
  ASSERT_TRUE(parse_mount_table(kTable, makedev(0, 53), 90, found));
  EXPECT_EQ(found.root, "/");
}

TEST(MountTable, KnowsWhoseMountItIsOnlyForFuse) {
  MountPoint found;
  ASSERT_TRUE(parse_mount_table(kTable, makedev(254, 0), 0, found));
  EXPECT_FALSE(found.owner_known);
  EXPECT_FALSE(found.is_fuse());
}

TEST(MountTable, SkipsWhatItDoesNotUnderstand) {
  MountPoint found;
  EXPECT_FALSE(parse_mount_table(kTable, makedev(0, 54), 0, found));
  EXPECT_FALSE(parse_mount_table("", makedev(0, 53), 0, found));
  EXPECT_FALSE(parse_mount_table("- - 0:53 - - - - - - -", makedev(0, 53), 0, found));
}

TEST(MountPoint, TellsARootFromADirectoryInIt) {
  const auto proc = find_mount_point("/proc");
  ASSERT_TRUE(proc) << proc.error().message;
  EXPECT_TRUE(proc->is_root);
  EXPECT_EQ(proc->fs_type, "proc");
  const auto self = find_mount_point("/proc/sys");
  ASSERT_TRUE(self) << self.error().message;
  EXPECT_FALSE(self->is_root);
}

TEST(MountPoint, IsGivenWithoutSymbolicLinksAndDots) {
  test::TempTree tree;
  tree.make_dir("dir");
  ASSERT_EQ(symlink("dir", (tree / "link").c_str()), 0);
  const auto found = find_mount_point(tree / "link/../link/.");
  ASSERT_TRUE(found) << found.error().message;
  const auto real = find_mount_point(tree / "dir");
  ASSERT_TRUE(real);
  EXPECT_EQ(found->path, real->path);
  EXPECT_FALSE(found->is_root);
}

TEST(MountPoint, SaysWhyThereIsNone) {
  test::TempTree tree;
  const auto found = find_mount_point(tree / "nothing");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ENOENT);
  EXPECT_EQ(found.error().message, (tree / "nothing") + ": No such file or directory");
}

TEST(MountPoint, DeviceIsThatOfStat) {
  struct stat st {};
  ASSERT_EQ(stat("/proc", &st), 0);
  EXPECT_EQ(device_at("/proc"), st.st_dev);
  EXPECT_EQ(device_at("/nothing/there"), 0U);
}

}  // namespace
}  // namespace passthroughfs
