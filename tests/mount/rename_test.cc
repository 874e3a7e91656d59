// SPDX-License-Identifier: Apache-2.0
//
// rename and link in all forms, compared with the native file system.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

class RenameTest : public MountTest {};

int rename_with(const std::string& from, const std::string& to, unsigned flags) {
  return renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags);
}

// One of everything that can be renamed or renamed over.
void populate(const std::string& dir) {
  write_file(dir + "/file", "file");
  write_file(dir + "/other", "other");
  make_dir(dir + "/empty");
  make_dir(dir + "/full");
  write_file(dir + "/full/inside", "inside");
  make_dir(dir + "/full/sub");
  ASSERT_EQ(symlink("file", (dir + "/symlink").c_str()), 0);
  ASSERT_EQ(mkfifo((dir + "/fifo").c_str(), 0644), 0);
  ASSERT_EQ(link((dir + "/file").c_str(), (dir + "/hardlink").c_str()), 0);
}

constexpr std::array kNames = {"file",     "other",       "empty",    "full", "symlink", "fifo",
                               "hardlink", "full/inside", "full/sub", "none", "file/x",  "empty/"};

void describe(Trace& t, const std::string& dir) {
  for (const char* name : kNames) {
    t.stat(name, dir + "/" + name);
  }
  t.content("file", dir + "/file");
  t.content("other", dir + "/other");
}

// Every pair of names, each in a fresh directory.
void rename_all_pairs(Trace& t, const std::string& dir, unsigned flags) {
  int round = 0;
  for (const char* from : kNames) {
    for (const char* to : kNames) {
      const std::string place = dir + "/" + std::to_string(flags) + "-" + std::to_string(round++);
      make_dir(place);
      populate(place);
      t.num(std::string(from) + " -> " + to,
            rename_with(place + "/" + from, place + "/" + to, flags));
      describe(t, place);
    }
  }
}

TEST_F(RenameTest, EveryPairWithoutFlags) {
  const Trace native = same([](Trace& t, const std::string& dir) { rename_all_pairs(t, dir, 0); });
  EXPECT_EQ(native.count("file -> other", "0"), 1);
}

TEST_F(RenameTest, EveryPairNoReplace) {
  const Trace native =
      same([](Trace& t, const std::string& dir) { rename_all_pairs(t, dir, RENAME_NOREPLACE); });
  EXPECT_EQ(native.count("file -> other", "EEXIST"), 1);
}

TEST_F(RenameTest, EveryPairExchange) {
  const Trace native =
      same([](Trace& t, const std::string& dir) { rename_all_pairs(t, dir, RENAME_EXCHANGE); });
  EXPECT_EQ(native.count("file -> other", "0"), 1);
}

TEST_F(RenameTest, WhiteoutLeavesADevice) {
  PFS_NEEDS_ROOT();
  const Trace native = same([](Trace& t, const std::string& dir) {
    populate(dir);
    t.num("file", rename_with(dir + "/file", dir + "/moved", RENAME_WHITEOUT));
    t.stat("moved", dir + "/moved");
    t.stat("whiteout", dir + "/file");
    t.num("over", rename_with(dir + "/other", dir + "/moved", RENAME_WHITEOUT));
    t.num("no replace",
          rename_with(dir + "/fifo", dir + "/moved", RENAME_WHITEOUT | RENAME_NOREPLACE));
    t.num("directory", rename_with(dir + "/full", dir + "/dir", RENAME_WHITEOUT));
    t.stat("whiteout", dir + "/full");
    struct stat st {};
    t.num("lstat", lstat((dir + "/file").c_str(), &st));
    t.num("device", static_cast<long>(st.st_rdev));
    t.num("open", try_open(dir + "/file", O_RDONLY));
    t.num("with exchange",
          rename_with(dir + "/file", dir + "/moved", RENAME_WHITEOUT | RENAME_EXCHANGE));
    describe(t, dir);
  });
  EXPECT_EQ(native.count("file", "0"), 1);
}

TEST_F(RenameTest, UnknownFlagsAreRefused) {
  same([](Trace& t, const std::string& dir) {
    populate(dir);
    t.num("8", rename_with(dir + "/file", dir + "/other", 8));
    t.num("noreplace and exchange",
          rename_with(dir + "/file", dir + "/other", RENAME_NOREPLACE | RENAME_EXCHANGE));
    describe(t, dir);
  });
}

TEST_F(RenameTest, DirectoryIntoItselfAndOverItsParent) {
  same([](Trace& t, const std::string& dir) {
    populate(dir);
    t.num("into itself", rename_with(dir + "/full", dir + "/full/sub/x", 0));
    t.num("over its parent", rename_with(dir + "/full/sub", dir + "/full", 0));
    t.num("exchange with its parent",
          rename_with(dir + "/full/sub", dir + "/full", RENAME_EXCHANGE));
    t.num(".", rename_with(dir + "/full/.", dir + "/x", 0));
    t.num("to ..", rename_with(dir + "/file", dir + "/full/..", 0));
    describe(t, dir);
  });
}

TEST_F(RenameTest, AcrossTheMountsBorder) {
  PFS_NEEDS_DAEMON();
  write_file(mnt("f"), "x");
  write_file(mount().tree() / "outside", "x");
  EXPECT_EQ(rename(mnt("f").c_str(), (mount().tree() / "f").c_str()), -1);
  EXPECT_EQ(errno, EXDEV);
  EXPECT_EQ(rename((mount().tree() / "outside").c_str(), mnt("g").c_str()), -1);
  EXPECT_EQ(errno, EXDEV);
  EXPECT_EQ(link(mnt("f").c_str(), (mount().tree() / "f").c_str()), -1);
  EXPECT_EQ(errno, EXDEV);
  EXPECT_EQ(link(source("f").c_str(), mnt("g").c_str()), -1);
  EXPECT_EQ(errno, EXDEV);
}

TEST_F(RenameTest, NamesOfARenamedTreeAreRight) {
  same([](Trace& t, const std::string& dir) {
    populate(dir);
    const UniqueFd fd(open((dir + "/full/sub").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    t.num("rename", rename_with(dir + "/full", dir + "/renamed", 0));
    t.content("inside", dir + "/renamed/inside");
    t.content("old name", dir + "/full/inside");
    t.num("exchange", rename_with(dir + "/renamed", dir + "/empty", RENAME_EXCHANGE));
    t.content("inside", dir + "/empty/inside");
    t.content("old name", dir + "/renamed/inside");
    t.num("create below the handle", try_openat(fd.get(), "x", O_WRONLY | O_CREAT, 0644));
    t.stat("there", dir + "/empty/sub/x");
    t.num("move the file out", renameat(fd.get(), "x", AT_FDCWD, (dir + "/out").c_str()));
    t.num("..", try_openat(fd.get(), "../inside", O_RDONLY));
    describe(t, dir);
  });
}

TEST_F(RenameTest, ReplacingIsAtomicForReaders) {
  write_file(mnt("f"), "0");
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (int i = 1; i <= 500; ++i) {
      write_file(mnt("tmp"), std::to_string(i));
      EXPECT_EQ(rename(mnt("tmp").c_str(), mnt("f").c_str()), 0);
    }
    stop = true;
  });
  int last = 0;
  while (!stop) {
    const UniqueFd fd(open(mnt("f").c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(fd.valid()) << errno_name(errno);
    std::array<char, 16> text{};
    ASSERT_GT(read(fd.get(), text.data(), text.size() - 1), 0);
    const int now = std::atoi(text.data());
    ASSERT_GE(now, last);
    last = now;
  }
  writer.join();
  EXPECT_EQ(read_file(mnt("f")), "500");
}

TEST_F(RenameTest, ReplacedBehindTheMountIsSeen) {
  PFS_NEEDS_A_SHARED_SOURCE();
  write_file(mnt("f"), "old");
  ASSERT_EQ(read_file(mnt("f")), "old");
  write_file(source("tmp"), "new and longer");
  ASSERT_EQ(rename(source("tmp").c_str(), source("f").c_str()), 0);
  EXPECT_TRUE(wait_until([&] { return read_file(mnt("f")) == "new and longer"; }));
}

TEST_F(RenameTest, LinksAnswerAsNatively) {
  same([](Trace& t, const std::string& dir) {
    populate(dir);
    for (const char* from : kNames) {
      for (const char* to : {"new", "file", "empty", "none/x", "full/new"}) {
        t.num(std::string(from) + " " + to,
              link((dir + "/" + from).c_str(), (dir + "/" + to).c_str()));
        (void)unlink((dir + "/new").c_str());
        (void)unlink((dir + "/full/new").c_str());
      }
    }
    t.num("follow", linkat(AT_FDCWD, (dir + "/symlink").c_str(), AT_FDCWD, (dir + "/new").c_str(),
                           AT_SYMLINK_FOLLOW));
    t.stat("new", dir + "/new");
    describe(t, dir);
  });
}

TEST_F(RenameTest, RenameOfOneLinkOverAnotherDoesNothing) {
  same([](Trace& t, const std::string& dir) {
    populate(dir);
    t.num("rename", rename_with(dir + "/file", dir + "/hardlink", 0));
    describe(t, dir);
    t.num("noreplace", rename_with(dir + "/file", dir + "/hardlink", RENAME_NOREPLACE));
    t.num("to itself", rename_with(dir + "/file", dir + "/file", 0));
    t.num("directory to itself", rename_with(dir + "/full", dir + "/full", 0));
    describe(t, dir);
  });
}

TEST_F(RenameTest, PermissionsAnswerAsNatively) {
  PFS_NEEDS_ROOT();
  same([](Trace& trace, const std::string& dir) {
    make_dir(dir + "/sticky", 01777);
    make_dir(dir + "/open", 0777);
    make_dir(dir + "/closed", 0755);
    for (const char* place : {"/sticky", "/open", "/closed"}) {
      for (const char* name : {"/alice", "/bob"}) {
        const std::string path = dir + place + name;
        const Identity& who = name == std::string("/alice") ? kAlice : kBob;
        write_file(path, name);
        ASSERT_EQ(chown(path.c_str(), who.uid, who.gid), 0);
        make_dir(path + "dir", 0755);
        ASSERT_EQ(chown((path + "dir").c_str(), who.uid, who.gid), 0);
      }
    }
    run_as(kAlice, trace, [&](Trace& t) {
      for (const std::string place : {"/sticky", "/open", "/closed"}) {
        const std::string at = dir + place;
        t.num("own", rename_with(at + "/alice", at + "/alice2", 0));
        t.num("own back", rename_with(at + "/alice2", at + "/alice", 0));
        t.num("other's", rename_with(at + "/bob", at + "/bob2", 0));
        t.num("over other's", rename_with(at + "/alice", at + "/bob", 0));
        t.num("exchange", rename_with(at + "/alice", at + "/bob", RENAME_EXCHANGE));
        t.num("own dir", rename_with(at + "/alicedir", dir + "/open/alicedir2", 0));
        t.num("other's dir", rename_with(at + "/bobdir", dir + "/open/bobdir2", 0));
        t.num("link own", link((at + "/alice").c_str(), (dir + "/open/l").c_str()));
        t.num("unlink other's", unlink((at + "/bob").c_str()));
        t.num("rmdir other's", rmdir((at + "/bobdir").c_str()));
      }
    });
    for (const char* place : {"/sticky", "/open", "/closed"}) {
      for (const char* name : {"/alice", "/bob", "/alice2", "/bob2", "/alicedir", "/bobdir"}) {
        trace.stat(name, dir + place + name);
      }
    }
  });
}

}  // namespace
}  // namespace passthroughfs::test
