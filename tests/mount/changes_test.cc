// SPDX-License-Identifier: Apache-2.0
//
// What `checkpoint`, `dirty` and `watch` tell of a mount, case by case; conformance/changes_* has
// the random ones.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/mount_fixture.h"
#include "support/told_changes.h"

namespace passthroughfs::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;
// Each of the ways that data takes.
class ChangesTest : public MountTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
    MountTest::SetUp();
  }
  MountSettings settings() const override {
    MountSettings settings;
    if (*GetParam() != '\0') settings.options = {GetParam()};
    return settings;
  }
  std::string checkpoint() const { return test::checkpoint(mount()); }
  Changes since(const std::string& token) const { return dirty(mount(), token); }
  Changes spelled(const std::string& token) const {
    return dirty(mount(), token, {"--no-renames"});
  }
  UniqueFd open(std::string_view name, int flags) const {
    UniqueFd fd(::open(mnt(name).c_str(), flags | O_CLOEXEC, 0644));
    EXPECT_TRUE(fd.valid()) << name;
    return fd;
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, ChangesTest,
                         ::testing::Values("io=passthrough", "io=daemon", "handles=stateless"),
                         [](const auto& instance) {
                           std::string name = instance.param;
                           return name.substr(name.find('=') + 1);
                         });

TEST_P(ChangesTest, WhatWasMadeIsToldAndWhatCameAndWentIsNot) {
  write_file(mnt("a"), "text");
  make_dir(mnt("d"));
  write_file(mnt("d/b"), "text");
  ASSERT_EQ(symlink("a", mnt("link").c_str()), 0);
  ASSERT_EQ(mkfifo(mnt("fifo").c_str(), 0600), 0);
  write_file(mnt("passing"), "text");
  ASSERT_EQ(unlink(mnt("passing").c_str()), 0);
  EXPECT_THAT(since(""), UnorderedElementsAre(Pair("a", "created"), Pair("d", "created"),
                                              Pair("d/b", "created"), Pair("fifo", "created"),
                                              Pair("link", "created")));
}

TEST_P(ChangesTest, AFileThatWasOpenedForWritingAndNotWrittenIsNotTold) {
  write_file(source("a"), "text");
  const std::string token = checkpoint();
  for (const int flags : {O_WRONLY, O_RDWR, O_WRONLY | O_APPEND}) (void)open("a", flags);
  EXPECT_THAT(since(token), IsEmpty());
  const UniqueFd held = open("a", O_RDWR);
  EXPECT_THAT(since(token), IsEmpty());
  EXPECT_THAT(since(checkpoint()), IsEmpty());
}

TEST_P(ChangesTest, EachWayToChangeContentIsTold) {
  for (const char* name : {"write", "append", "path", "handle", "trunc", "hole", "copy", "still"}) {
    write_file(source(name), std::string(10000, 'x'));
  }
  const std::string token = checkpoint();
  EXPECT_EQ(pwrite(open("write", O_WRONLY).get(), "y", 1, 5), 1);
  EXPECT_EQ(::write(open("append", O_WRONLY | O_APPEND).get(), "y", 1), 1);
  EXPECT_EQ(truncate(mnt("path").c_str(), 5), 0);
  EXPECT_EQ(ftruncate(open("handle", O_RDWR).get(), 20000), 0);
  (void)open("trunc", O_WRONLY | O_TRUNC);
  EXPECT_EQ(
      fallocate(open("hole", O_RDWR).get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096),
      0);
  off_t from = 0;
  off_t to = 100;
  EXPECT_EQ(copy_file_range(open("still", O_RDONLY).get(), &from, open("copy", O_WRONLY).get(), &to,
                            50, 0),
            50);
  EXPECT_THAT(since(token), UnorderedElementsAre(Pair("write", "data"), Pair("append", "data"),
                                                 Pair("path", "data"), Pair("handle", "data"),
                                                 Pair("trunc", "data"), Pair("hole", "data"),
                                                 Pair("copy", "data")));
}

TEST_P(ChangesTest, AWriteThatRestoresTheTimeIsTold) {
  write_file(source("a"), "text");
  const std::string token = checkpoint();
  struct stat before {};
  ASSERT_EQ(stat(mnt("a").c_str(), &before), 0);
  const UniqueFd fd = open("a", O_RDWR);
  EXPECT_EQ(pwrite(fd.get(), "next", 4, 0), 4);
  const timespec times[2] = {before.st_atim, before.st_mtim};
  EXPECT_EQ(futimens(fd.get(), times), 0);
  EXPECT_THAT(since(token), UnorderedElementsAre(Pair("a", "data")));
}

TEST_P(ChangesTest, AStoreThroughAMappingIsToldAfterCloseAndOverACheckpoint) {
  write_file(source("a"), std::string(4096, 'x'));
  char* memory = nullptr;
  {
    const UniqueFd fd = open("a", O_RDWR);
    void* mapped = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    ASSERT_NE(mapped, MAP_FAILED);
    memory = static_cast<char*>(mapped);
  }
  EXPECT_EQ(memory[0], 'x');  // the page is there before it is written to
  const std::string first = checkpoint();
  EXPECT_THAT(since(first), IsEmpty());
  memory[1] = 'y';
  ASSERT_EQ(msync(memory, 4096, MS_SYNC), 0);
  EXPECT_THAT(since(first), UnorderedElementsAre(Pair("a", "data")));
  const std::string second = checkpoint();
  EXPECT_THAT(since(second), IsEmpty());
  memory[2] = 'z';
  ASSERT_EQ(munmap(memory, 4096), 0);
  EXPECT_TRUE(wait_until([&] { return read_file(source("a"))[2] == 'z'; }));
  EXPECT_THAT(since(second), UnorderedElementsAre(Pair("a", "data")));
}

TEST_P(ChangesTest, AttributesAreComparedAndTimesCountIfAProgramSetsThem) {
  for (const char* name : {"mode", "owner", "back", "touched"}) write_file(source(name), "x");
  const std::string token = checkpoint();
  EXPECT_EQ(chmod(mnt("mode").c_str(), 0600), 0);
  EXPECT_EQ(chown(mnt("owner").c_str(), 1000, 1000), 0);
  EXPECT_EQ(chmod(mnt("back").c_str(), 0600), 0);
  EXPECT_EQ(chmod(mnt("back").c_str(), 0644), 0);
  const timespec times[2] = {{1, 0}, {2, 0}};
  EXPECT_EQ(utimensat(AT_FDCWD, mnt("touched").c_str(), times, 0), 0);
  EXPECT_THAT(since(token),
              UnorderedElementsAre(Pair("mode", "attributes"), Pair("owner", "attributes"),
                                   Pair("touched", "attributes")));
}

TEST_P(ChangesTest, ExtendedAttributesAreComparedToo) {
  for (const char* name : {"set", "back", "gone"}) write_file(source(name), "x");
  ASSERT_EQ(setxattr(source("gone").c_str(), "user.a", "1", 1, 0), 0);
  const std::string token = checkpoint();
  EXPECT_EQ(setxattr(mnt("set").c_str(), "user.a", "1", 1, 0), 0);
  EXPECT_EQ(setxattr(mnt("back").c_str(), "user.a", "1", 1, 0), 0);
  EXPECT_EQ(removexattr(mnt("back").c_str(), "user.a"), 0);
  EXPECT_EQ(removexattr(mnt("gone").c_str(), "user.a"), 0);
  EXPECT_THAT(since(token), UnorderedElementsAre(Pair("set", "xattr"), Pair("gone", "xattr")));
}

TEST_P(ChangesTest, CapabilitiesThatAFileLosesByAnotherChangeAreTold) {
  const vfs_cap_data capabilities{VFS_CAP_REVISION_2, {{1U << CAP_NET_RAW, 0}, {0, 0}}};
  const auto has_them = [this](const std::string& name) {
    return getxattr(source(name).c_str(), "security.capability", nullptr, 0) > 0;
  };
  for (const char* name : {"write", "trunc", "truncate", "owner", "opened", "mode"}) {
    write_file(source(name), "text", 0755);
    ASSERT_EQ(
        setxattr(source(name).c_str(), "security.capability", &capabilities, XATTR_CAPS_SZ_2, 0), 0)
        << errno_name(errno);
  }
  const std::string token = checkpoint();
  EXPECT_EQ(pwrite(open("write", O_WRONLY).get(), "y", 1, 0), 1);
  (void)open("trunc", O_WRONLY | O_TRUNC);
  EXPECT_EQ(truncate(mnt("truncate").c_str(), 2), 0);
  EXPECT_EQ(chown(mnt("owner").c_str(), 1000, 1000), 0);
  (void)open("opened", O_RDWR);
  EXPECT_EQ(chmod(mnt("mode").c_str(), 0700), 0);
  for (const char* name : {"write", "trunc", "truncate", "owner"}) {
    EXPECT_FALSE(has_them(name)) << name;
  }
  EXPECT_TRUE(has_them("opened"));
  EXPECT_TRUE(has_them("mode"));
  EXPECT_THAT(since(token),
              UnorderedElementsAre(Pair("write", "data,xattr"), Pair("trunc", "data,xattr"),
                                   Pair("truncate", "data,xattr"),
                                   Pair("owner", "attributes,xattr"), Pair("mode", "attributes")));
}

TEST_P(ChangesTest, RenamesAreToldAsSuchOrSpelledOut) {
  make_dir(source("d"));
  write_file(source("d/inside"), "1");
  write_file(source("file"), "1");
  write_file(source("chain"), "1");
  write_file(source("back"), "1");
  const std::string token = checkpoint();
  EXPECT_EQ(rename(mnt("d").c_str(), mnt("e").c_str()), 0);
  EXPECT_EQ(rename(mnt("file").c_str(), mnt("e/file").c_str()), 0);
  write_file(mnt("e/file"), "22");
  EXPECT_EQ(rename(mnt("chain").c_str(), mnt("x").c_str()), 0);
  EXPECT_EQ(rename(mnt("x").c_str(), mnt("end").c_str()), 0);
  EXPECT_EQ(rename(mnt("back").c_str(), mnt("x").c_str()), 0);
  EXPECT_EQ(rename(mnt("x").c_str(), mnt("back").c_str()), 0);
  EXPECT_THAT(since(token),
              UnorderedElementsAre(Pair("e", "renamed<-d"), Pair("e/file", "data,renamed<-file"),
                                   Pair("end", "renamed<-chain")));
  EXPECT_THAT(spelled(token),
              UnorderedElementsAre(Pair("d", "deleted"), Pair("d/inside", "deleted"),
                                   Pair("e", "created"), Pair("e/inside", "created"),
                                   Pair("e/file", "created"), Pair("file", "deleted"),
                                   Pair("chain", "deleted"), Pair("end", "created")));
}

TEST_P(ChangesTest, AnotherFileInThePlaceOfOneIsData) {
  for (const char* name : {"saved", "again", "x", "y"}) write_file(source(name), name);
  const std::string token = checkpoint();
  write_file(mnt("saved.tmp"), "new");
  EXPECT_EQ(rename(mnt("saved.tmp").c_str(), mnt("saved").c_str()), 0);
  EXPECT_EQ(unlink(mnt("again").c_str()), 0);
  write_file(mnt("again"), "anew");
  EXPECT_EQ(renameat2(AT_FDCWD, mnt("x").c_str(), AT_FDCWD, mnt("y").c_str(), RENAME_EXCHANGE), 0);
  EXPECT_THAT(since(token), UnorderedElementsAre(Pair("saved", "data"), Pair("again", "data"),
                                                 Pair("x", "renamed<-y"), Pair("y", "renamed<-x")));
  EXPECT_THAT(spelled(token), UnorderedElementsAre(Pair("saved", "data"), Pair("again", "data"),
                                                   Pair("x", "data"), Pair("y", "data")));
}

TEST_P(ChangesTest, AChangeIsToldUnderAllNamesOfAFile) {
  make_dir(source("d"));
  write_file(source("a"), "text");
  std::filesystem::create_hard_link(source("a"), source("d/b"));
  const std::string token = checkpoint();
  write_file(mnt("a"), "other");
  EXPECT_EQ(::link(mnt("a").c_str(), mnt("c").c_str()), 0);
  EXPECT_THAT(since(token),
              UnorderedElementsAre(Pair("a", "data"), Pair("d/b", "data"), Pair("c", "created")));
}

TEST_P(ChangesTest, AFileWithoutANameIsToldWhenItGetsOne) {
  const std::string token = checkpoint();
  const UniqueFd fd(::open(mount().mnt().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0644));
  ASSERT_TRUE(fd.valid());
  ASSERT_EQ(::write(fd.get(), "x", 1), 1);
  EXPECT_THAT(since(token), IsEmpty());
  const std::string link = "/proc/self/fd/" + std::to_string(fd.get());
  ASSERT_EQ(linkat(AT_FDCWD, link.c_str(), AT_FDCWD, mnt("named").c_str(), AT_SYMLINK_FOLLOW), 0);
  EXPECT_THAT(since(token), UnorderedElementsAre(Pair("named", "created")));
}

// The recipe of README.md.
TEST_P(ChangesTest, TheListsAreReadyForRsync) {
  for (const char* name : {"d", "gone", "becomes_file"}) make_dir(source(name));
  for (const char* name : {"gone/file", "becomes_file/x", "d/a", "still", "time", "becomes_dir"}) {
    write_file(source(name), "1");
  }
  const std::string backup = mount().tree().make_dir("backup");
  ASSERT_EQ(run_program({"rsync", "-a", source("") + "/", backup + "/"}).exit_code, 0);
  const std::string token = checkpoint();
  write_file(mnt("d/a"), "22");
  write_file(mnt("new\nline"), "1");
  write_file(mnt("bytes\xFF"), "1");
  std::filesystem::remove_all(mnt("gone"));
  std::filesystem::rename(mnt("d"), mnt("e"));
  std::filesystem::remove_all(mnt("becomes_file"));
  write_file(mnt("becomes_file"), "1");
  ASSERT_EQ(unlink(mnt("becomes_dir").c_str()), 0);
  make_dir(mnt("becomes_dir"));
  write_file(mnt("becomes_dir/x"), "1");
  // With the size and time that it had.
  struct stat before {};
  ASSERT_EQ(stat(mnt("time").c_str(), &before), 0);
  write_file(mnt("time"), "2");
  const timespec times[2] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(utimensat(AT_FDCWD, mnt("time").c_str(), times, 0), 0);
  const std::string script =
      "cd $HERE &&\n"
      "$PFS dirty $MNT --since $TOKEN -0 --deleted >gone &&\n"
      "$PFS dirty $MNT --since $TOKEN -0 >changed &&\n"
      "(cd $BACKUP && xargs -0 -r rm -rf --) <gone &&\n"
      "rsync -aAXI --from0 --files-from=changed $MNT/ $BACKUP/ &&\n"
      "diff -r $MNT $BACKUP\n";
  auto environment = mount().environment();
  environment.insert(
      environment.end(),
      {"PFS=" + program_path(), "MNT=" + mnt(""), "TOKEN=" + token, "BACKUP=" + backup,
       "HERE=" + mount().tree().path(), "PATH=" + std::string(getenv("PATH"))});
  const ProgramResult result = run_program({"sh", "-c", script}, environment);
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
}

}  // namespace
}  // namespace passthroughfs::test
