// SPDX-License-Identifier: Apache-2.0
//
// Truncation: through a handle whatever has become of the file's name and mode, and by path.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

class TruncateTest : public MountTest {};

// Sets the file's times long ago, so that "moved" needs no waiting.
void make_old(const std::string& path) {
  const timespec old[2] = {{1000000, 0}, {1000000, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), old, 0), 0);
}

bool modified(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && st.st_mtim.tv_sec != 1000000;
}

TEST_F(TruncateTest, ReadWriteHandleGrowsShrinksAndEmpties) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "0123456789");
    const UniqueFd fd(t.ok("open", open((dir + "/f").c_str(), O_RDWR | O_CLOEXEC)));
    for (const off_t size : {4, 9, 9, 0, 5000, 4096, 1}) {
      t.num("ftruncate", ftruncate(fd.get(), size));
      t.fstat("fstat", fd.get());
      t.content("content", dir + "/f");
    }
    t.num("negative", ftruncate(fd.get(), -1));
  });
  EXPECT_EQ(native.count("ftruncate", "0"), 7);
}

TEST_F(TruncateTest, GrownPartReadsAsZeroes) {
  write_file(mnt("f"), "0123456789");
  const UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(ftruncate(fd.get(), 4), 0);
  ASSERT_EQ(ftruncate(fd.get(), 8), 0);
  EXPECT_EQ(read_file(mnt("f")), std::string("0123\0\0\0\0", 8));
  EXPECT_EQ(read_file(source("f")), std::string("0123\0\0\0\0", 8));
}

TEST_F(TruncateTest, OwnerTruncatesItsHandleAfterChmodZero) {
  PFS_NEEDS_ROOT();
  make_dir(source("d"), 0777);
  make_dir(mount().native("d"), 0777);
  const Trace native = same([](Trace& trace, const std::string& dir) {
    run_as(kAlice, trace, [&](Trace& t) {
      const std::string path = dir + "/d/f";
      write_file(path, "0123456789");
      const UniqueFd fd(t.ok("open", open(path.c_str(), O_RDWR | O_CLOEXEC)));
      t.num("fchmod 0", fchmod(fd.get(), 0));
      t.num("ftruncate", ftruncate(fd.get(), 4));
      t.fstat("fstat", fd.get());
      t.num("pwrite", pwrite(fd.get(), "ab", 2, 3));
      char buffer[8] = {};
      t.num("pread", pread(fd.get(), buffer, sizeof buffer, 0));
      t.note("read", buffer);
      t.num("grow", ftruncate(fd.get(), 100));
      t.num("truncate by path", truncate(path.c_str(), 0));
      t.num("second open", try_open(path, O_RDWR));
      t.fstat("fstat", fd.get());
    });
  });
  EXPECT_EQ(native.count("ftruncate", "0"), 1);
  EXPECT_EQ(native.count("truncate by path", "EACCES"), 1);
}

TEST_F(TruncateTest, WorksAfterUnlink) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "0123456789");
    const UniqueFd fd(open((dir + "/f").c_str(), O_RDWR | O_CLOEXEC));
    t.num("unlink", unlink((dir + "/f").c_str()));
    t.num("ftruncate", ftruncate(fd.get(), 4));
    t.fstat("fstat", fd.get());
    t.num("ftruncate", ftruncate(fd.get(), 8));
    t.fstat("fstat", fd.get());
    t.num("truncate", truncate((dir + "/f").c_str(), 1));
  });
  EXPECT_EQ(native.count("ftruncate", "0"), 2);
  EXPECT_EQ(native.count("truncate", "ENOENT"), 1);
}

TEST_F(TruncateTest, OldHandleSparesTheFileThatWasRenamedOverIt) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/old", "old old old");
    write_file(dir + "/new", "new new new");
    const UniqueFd fd(open((dir + "/old").c_str(), O_RDWR | O_CLOEXEC));
    t.num("rename", rename((dir + "/new").c_str(), (dir + "/old").c_str()));
    t.num("ftruncate", ftruncate(fd.get(), 3));
    t.fstat("old handle", fd.get());
    t.content("new file", dir + "/old");
  });
  EXPECT_EQ(read_file(source("old")), "new new new");
}

TEST_F(TruncateTest, OldHandleSparesTheFileThatReplacedItBehindTheMount) {
  write_file(mnt("f"), "old old old");
  const UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(unlink(source("f").c_str()), 0);
  write_file(source("f"), "new new new");
  EXPECT_EQ(ftruncate(fd.get(), 3), 0);
  EXPECT_EQ(read_file(source("f")), "new new new");
  char buffer[16] = {};
  EXPECT_EQ(pread(fd.get(), buffer, sizeof buffer, 0), 3);
  EXPECT_STREQ(buffer, "old");
}

TEST_F(TruncateTest, ReadOnlyHandleIsRefused) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "0123456789");
    const UniqueFd fd(open((dir + "/f").c_str(), O_RDONLY | O_CLOEXEC));
    t.num("ftruncate", ftruncate(fd.get(), 4));
    t.num("same size", ftruncate(fd.get(), 10));
    const UniqueFd directory(open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    t.num("directory", ftruncate(directory.get(), 0));
    const UniqueFd path(open((dir + "/f").c_str(), O_PATH | O_CLOEXEC));
    t.num("O_PATH", ftruncate(path.get(), 0));
    t.content("content", dir + "/f");
  });
  EXPECT_EQ(native.count("ftruncate", "EINVAL"), 1);
}

TEST_F(TruncateTest, ByPathWithoutAHandle) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "0123456789");
    make_dir(dir + "/dir");
    ASSERT_EQ(symlink("f", (dir + "/link").c_str()), 0);
    ASSERT_EQ(mkfifo((dir + "/fifo").c_str(), 0644), 0);
    for (const off_t size : {4, 4, 10, 5000, 0}) {
      t.num("truncate", truncate((dir + "/f").c_str(), size));
      t.stat("stat", dir + "/f");
      t.content("content", dir + "/f");
    }
    t.num("through a symlink", truncate((dir + "/link").c_str(), 7));
    t.stat("stat", dir + "/f");
    t.num("missing", truncate((dir + "/none").c_str(), 0));
    t.num("directory", truncate((dir + "/dir").c_str(), 0));
    t.num("fifo", truncate((dir + "/fifo").c_str(), 0));
    t.num("negative", truncate((dir + "/f").c_str(), -1));
    t.num("below a file", truncate((dir + "/f/x").c_str(), 0));
    t.num("beyond the file system", truncate((dir + "/f").c_str(), 0x7fffffffffffffff));
    t.stat("stat", dir + "/f");
  });
  EXPECT_EQ(native.count("truncate", "0"), 5);
}

TEST_F(TruncateTest, ByPathNeedsWritePermission) {
  PFS_NEEDS_ROOT();
  const Trace native = same([](Trace& trace, const std::string& dir) {
    for (const mode_t mode : {0644U, 0444U, 0666U, 0600U}) {
      const std::string path = dir + "/" + std::to_string(mode);
      write_file(path, "0123456789");
      ASSERT_EQ(chmod(path.c_str(), mode), 0);
      ASSERT_EQ(chown(path.c_str(), kAlice.uid, kAlice.gid), 0);
      for (const Identity& who : {kAlice, kBob, kRoot}) {
        run_as(who, trace, [&](Trace& t) { t.num("truncate", truncate(path.c_str(), 5)); });
        trace.stat("stat", path);
      }
    }
  });
  EXPECT_EQ(native.count("truncate", "EACCES"), 4);
}

TEST_F(TruncateTest, FileThatItsOwnerMayWriteButNotRead) {
  PFS_NEEDS_ROOT();
  make_dir(source("d"), 0777);
  make_dir(mount().native("d"), 0777);
  const Trace native = same([](Trace& trace, const std::string& dir) {
    const std::string path = dir + "/d/f";
    run_as(kAlice, trace, [&](Trace& t) {
      write_file(path, "0123456789");
      t.num("chmod", chmod(path.c_str(), 0200));
      t.num("truncate", truncate(path.c_str(), 8));
      t.num("read open", try_open(path, O_RDONLY));
      t.num("read-write open", try_open(path, O_RDWR));
      const UniqueFd fd(t.ok("write open", open(path.c_str(), O_WRONLY | O_CLOEXEC)));
      t.num("pwrite", pwrite(fd.get(), "ab", 2, 3));
      t.num("ftruncate", ftruncate(fd.get(), 6));
      t.num("pwrite", pwrite(fd.get(), "xyz", 3, 5));
      char byte = 0;
      t.num("read", pread(fd.get(), &byte, 1, 0));
      t.fstat("fstat", fd.get());
      const UniqueFd emptied(t.ok("O_TRUNC", open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC)));
      t.fstat("fstat", fd.get());
      t.num("write", write(emptied.get(), "end", 3));
    });
    trace.content("content", path);
  });
  EXPECT_EQ(native.count("read open", "EACCES"), 1);
  EXPECT_EQ(native.count("write open", "ok"), 1);
  EXPECT_EQ(native.count("content", "end"), 1);
}

TEST_F(TruncateTest, WriterOfAReadOnlyFileThatItJustCreated) {
  PFS_NEEDS_ROOT();
  make_dir(source("d"), 0777);
  make_dir(mount().native("d"), 0777);
  const Trace native = same([](Trace& trace, const std::string& dir) {
    run_as(kAlice, trace, [&](Trace& t) {
      const std::string path = dir + "/d/f";
      const UniqueFd fd(
          t.ok("create", open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0444)));
      t.num("write", write(fd.get(), "0123456789", 10));
      t.num("ftruncate", ftruncate(fd.get(), 4));
      t.num("by path", truncate(path.c_str(), 1));
      t.num("open again", try_open(path, O_WRONLY));
      t.stat("stat", path);
    });
  });
  EXPECT_EQ(native.count("write", "10"), 1);
  EXPECT_EQ(native.count("ftruncate", "0"), 1);
}

TEST_F(TruncateTest, OpenWithTruncEmptiesTheFile) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    for (const int mode : {O_WRONLY, O_RDWR, O_RDONLY, O_WRONLY | O_CREAT, O_WRONLY | O_APPEND}) {
      write_file(dir + "/f", "0123456789");
      make_old(dir + "/f");
      const UniqueFd other(open((dir + "/f").c_str(), O_RDONLY | O_CLOEXEC));
      const UniqueFd fd(t.ok("open", open((dir + "/f").c_str(), mode | O_TRUNC | O_CLOEXEC, 0600)));
      t.fstat("through the other handle", other.get());
      t.note("modified", modified(dir + "/f"));
    }
    write_file(dir + "/empty", "");
    make_old(dir + "/empty");
    const UniqueFd fd(open((dir + "/empty").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
    t.note("empty file modified", modified(dir + "/empty"));
  });
  EXPECT_EQ(native.count("open", "ok"), 5);
}

TEST_F(TruncateTest, TimesMoveAsNatively) {
  same([](Trace& t, const std::string& dir) {
    const std::string path = dir + "/f";
    write_file(path, "0123456789");
    const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
    for (const off_t size : {20, 20, 5, 0, 0}) {
      make_old(path);
      t.num("ftruncate", ftruncate(fd.get(), size));
      t.note("modified", modified(path));
      make_old(path);
      t.num("truncate", truncate(path.c_str(), size));
      t.note("modified", modified(path));
    }
  });
}

TEST_F(TruncateTest, OtherHandlesSeeTheNewSizeAtOnce) {
  same([](Trace& t, const std::string& dir) {
    const std::string path = dir + "/f";
    write_file(path, "0123456789");
    const UniqueFd one(open(path.c_str(), O_RDWR | O_CLOEXEC));
    const UniqueFd two(open(path.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(link(path.c_str(), (dir + "/g").c_str()), 0);
    for (const off_t size : {4, 20, 0}) {
      t.num("ftruncate", ftruncate(one.get(), size));
      t.fstat("other handle", two.get());
      t.stat("other name", dir + "/g");
      t.num("end", lseek(two.get(), 0, SEEK_END));
      char buffer[32];
      t.num("read", pread(two.get(), buffer, sizeof buffer, 0));
    }
  });
}

}  // namespace
}  // namespace passthroughfs::test
