// SPDX-License-Identifier: Apache-2.0
//
// A handle is a handle: what an open file can do after its name, mode or directory has changed.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

class HandlesTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    make_dir(source("shared"), 0777);
    make_dir(mount().native("shared"), 0777);
  }
  // Descriptors go back after the close that the client sees: RELEASE is sent in the background.
  void expect_descriptors(std::size_t expected) const {
    EXPECT_TRUE(wait_until([&] { return mount().descriptors() <= expected; }))
        << mount().descriptors() << " descriptors instead of " << expected;
  }
};

// Every call that works on an open file, whatever became of it.
void exercise(Trace& t, int fd) {
  std::array<char, 32> buffer{};
  t.fstat("fstat", fd);
  t.num("pread", pread(fd, buffer.data(), buffer.size() - 1, 0));
  t.note("read", buffer.data());
  t.num("pwrite", pwrite(fd, "XY", 2, 1));
  t.num("ftruncate", ftruncate(fd, 8));
  t.num("lseek", lseek(fd, 0, SEEK_END));
  t.num("write", write(fd, "end", 3));
  t.num("fallocate", fallocate(fd, 0, 0, 100));
  t.num("fsync", fsync(fd));
  t.num("fdatasync", fdatasync(fd));
  t.num("fchmod", fchmod(fd, 0640));
  const timespec times[2] = {{1000, 0}, {2000, 0}};
  t.num("futimens", futimens(fd, times));
  t.num("fchown", fchown(fd, static_cast<uid_t>(-1), static_cast<gid_t>(-1)));
  struct stat st {};
  t.num("fstat", fstat(fd, &st));
  t.num("mtime", static_cast<long>(st.st_mtim.tv_sec));
  buffer = {};
  t.num("pread", pread(fd, buffer.data(), buffer.size() - 1, 0));
  t.note("read", buffer.data());
  const UniqueFd again(
      t.ok("reopen", open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDWR | O_CLOEXEC)));
  t.num("write to it", pwrite(again.get(), "AGAIN", 5, 0));
  buffer = {};
  t.num("pread", pread(fd, buffer.data(), buffer.size() - 1, 0));
  t.note("read", buffer.data());
  t.fstat("fstat", fd);
}

TEST_F(HandlesTest, OpenAndCloseManyTimesLeaksNothing) {
  write_file(mnt("f"), "content");
  for (int i = 0; i < 100; ++i) {
    close(open(mnt("f").c_str(), O_RDWR | O_CLOEXEC));
  }
  const std::size_t before = native_run() ? 0 : mount().descriptors();
  constexpr int kOpens = 50000;
  auto open_and_close = [&](int flags) {
    for (int i = 0; i < kOpens; ++i) {
      const int fd = open(mnt("f").c_str(), flags | O_CLOEXEC);
      ASSERT_GE(fd, 0) << "open number " << i << ": " << errno_name(errno);
      ASSERT_EQ(close(fd), 0);
    }
  };
  std::thread other([&] { open_and_close(O_RDWR); });
  open_and_close(O_RDONLY);
  other.join();
  if (!native_run()) {
    expect_descriptors(before);
  }
}

TEST_F(HandlesTest, EveryKindOfOpenGivesItsDescriptorBack) {
  PFS_NEEDS_DAEMON();
  make_dir(mnt("dir"));
  write_file(mnt("f"), "content");
  auto round = [&] {
    for (int i = 0; i < 200; ++i) {
      close(open(mnt("f").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
      close(open(mnt("f").c_str(), O_RDWR | O_TRUNC | O_CLOEXEC));
      close(open(mnt("f").c_str(), O_PATH | O_CLOEXEC));
      close(open(mnt("dir").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      (void)try_open(mnt("dir"), O_RDWR | O_TMPFILE, 0600);
      close(open(mnt("new").c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
      EXPECT_LT(open(mnt("f").c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), 0);
      EXPECT_LT(open(mnt("f").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0);
      EXPECT_LT(open(mnt("none").c_str(), O_RDONLY | O_CLOEXEC), 0);
      EXPECT_EQ(unlink(mnt("new").c_str()), 0);
    }
  };
  round();
  // Nodes that the kernel still knows may keep one each; these are the same ones in each round.
  expect_descriptors(42);
  const std::size_t before = mount().descriptors();
  round();
  expect_descriptors(before);
}

TEST_F(HandlesTest, UnlinkedFileDoesEverything) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "0123456789");
    const UniqueFd fd(t.ok("open", open((dir + "/f").c_str(), O_RDWR | O_CLOEXEC)));
    t.num("unlink", unlink((dir + "/f").c_str()));
    exercise(t, fd.get());
    t.stat("name", dir + "/f");
  });
  EXPECT_EQ(native.count("fchmod", "0"), 1);
  EXPECT_EQ(native.count("reopen", "ok"), 1);
}

TEST_F(HandlesTest, UnlinkedFileLeavesNoNameInTheSource) {
  const UniqueFd fd(open(mnt("shared/f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(unlink(mnt("shared/f").c_str()), 0);
  EXPECT_EQ(rmdir(mnt("shared").c_str()), 0) << errno_name(errno);
  EXPECT_LT(access(source("shared").c_str(), F_OK), 0);
}

TEST_F(HandlesTest, HandleFollowsRenames) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    make_dir(dir + "/a");
    make_dir(dir + "/a/b");
    make_dir(dir + "/other");
    write_file(dir + "/a/b/f", "0123456789");
    const UniqueFd fd(open((dir + "/a/b/f").c_str(), O_RDWR | O_CLOEXEC));
    t.num("file", rename((dir + "/a/b/f").c_str(), (dir + "/a/b/g").c_str()));
    t.num("write", pwrite(fd.get(), "1", 1, 0));
    t.num("parent", rename((dir + "/a/b").c_str(), (dir + "/other/c").c_str()));
    t.num("write", pwrite(fd.get(), "2", 1, 1));
    t.num("ftruncate", ftruncate(fd.get(), 5));
    t.num("grandparent", rename((dir + "/other").c_str(), (dir + "/moved").c_str()));
    t.num("fchmod", fchmod(fd.get(), 0600));
    t.num("write", pwrite(fd.get(), "3", 1, 2));
    t.content("content", dir + "/moved/c/g");
    t.stat("stat", dir + "/moved/c/g");
    exercise(t, fd.get());
  });
  EXPECT_EQ(native.count("content", "12334"), 1);
}

TEST_F(HandlesTest, HandleFollowsRenamesBehindTheMount) {
  make_dir(mnt("a"));
  write_file(mnt("a/f"), "0123456789");
  const UniqueFd fd(open(mnt("a/f").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(rename(source("a").c_str(), source("b").c_str()), 0);
  ASSERT_EQ(rename(source("b/f").c_str(), source("b/g").c_str()), 0);
  EXPECT_EQ(pwrite(fd.get(), "X", 1, 0), 1);
  EXPECT_EQ(ftruncate(fd.get(), 4), 0);
  EXPECT_EQ(fchmod(fd.get(), 0600), 0);
  EXPECT_EQ(read_file(source("b/g")), "X123");
}

TEST_F(HandlesTest, ReplacedFileStaysWithItsHandle) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "old old old");
    write_file(dir + "/new", "new new new");
    const UniqueFd old(open((dir + "/f").c_str(), O_RDWR | O_CLOEXEC));
    t.num("rename", rename((dir + "/new").c_str(), (dir + "/f").c_str()));
    const UniqueFd fresh(open((dir + "/f").c_str(), O_RDWR | O_CLOEXEC));
    exercise(t, old.get());
    t.stat("new file", dir + "/f");
    t.content("new file", dir + "/f");
    struct stat one {};
    struct stat two {};
    t.num("fstat", fstat(old.get(), &one));
    t.num("fstat", fstat(fresh.get(), &two));
    t.note("same inode", one.st_ino == two.st_ino);
  });
}

TEST_F(HandlesTest, ExchangedFilesKeepTheirHandles) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/a", "aaaa");
    write_file(dir + "/b", "bbbb");
    const UniqueFd a(open((dir + "/a").c_str(), O_RDWR | O_CLOEXEC));
    const UniqueFd b(open((dir + "/b").c_str(), O_RDWR | O_CLOEXEC));
    t.num("exchange", renameat2(AT_FDCWD, (dir + "/a").c_str(), AT_FDCWD, (dir + "/b").c_str(),
                                RENAME_EXCHANGE));
    t.num("write a", pwrite(a.get(), "1", 1, 0));
    t.num("write b", pwrite(b.get(), "2", 1, 0));
    t.num("truncate a", ftruncate(a.get(), 3));
    t.content("a", dir + "/a");
    t.content("b", dir + "/b");
  });
}

TEST_F(HandlesTest, ChmodZeroAfterOpenStillReadsAndWrites) {
  PFS_NEEDS_ROOT();
  const Trace native = same([](Trace& trace, const std::string& dir) {
    run_as(kAlice, trace, [&](Trace& t) {
      const std::string path = dir + "/shared/f";
      write_file(path, "0123456789");
      const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
      t.num("chmod", chmod(path.c_str(), 0));
      exercise(t, fd.get());
      t.num("open", try_open(path, O_RDONLY));
    });
  });
  EXPECT_EQ(native.count("pread", "10"), 1);
}

TEST_F(HandlesTest, RemovedBehindTheMountTheHandleStillWorks) {
  PFS_NEEDS_A_SHARED_SOURCE();
  write_file(mnt("f"), "0123456789");
  write_file(mount().native("f"), "0123456789");
  const UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CLOEXEC));
  const UniqueFd oracle(open(mount().native("f").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(unlink(source("f").c_str()), 0);
  ASSERT_EQ(unlink(mount().native("f").c_str()), 0);
  Trace native;
  Trace mounted;
  // The link count is the kernel's until the attributes are read again.
  EXPECT_TRUE(wait_until([&] {
    struct stat st {};
    return fstat(fd.get(), &st) == 0 && st.st_nlink == 0;
  }));
  exercise(native, oracle.get());
  exercise(mounted, fd.get());
  EXPECT_EQ(native.text(), mounted.text());
}

TEST_F(HandlesTest, DuplicatesAndForksShareTheOffset) {
  same([](Trace& trace, const std::string& dir) {
    write_file(dir + "/f", "0123456789");
    const UniqueFd fd(open((dir + "/f").c_str(), O_RDWR | O_CLOEXEC));
    const UniqueFd copy(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
    std::array<char, 4> buffer{};
    trace.num("read", read(fd.get(), buffer.data(), 3));
    trace.note("got", buffer.data());
    trace.num("copy at", lseek(copy.get(), 0, SEEK_CUR));
    trace.num("read", read(copy.get(), buffer.data(), 3));
    trace.note("got", buffer.data());
    in_child(trace, [&](Trace& t) { t.num("child writes", write(fd.get(), "AB", 2)); });
    trace.num("at", lseek(fd.get(), 0, SEEK_CUR));
    trace.num("write", write(copy.get(), "CD", 2));
    trace.num("flags", fcntl(copy.get(), F_GETFL) & (O_ACCMODE | O_APPEND));
    trace.content("content", dir + "/f");
  });
}

TEST_F(HandlesTest, CloseOfADuplicateLeavesTheHandleOpen) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "0123456789");
    const UniqueFd fd(open((dir + "/f").c_str(), O_RDWR | O_CLOEXEC));
    for (int i = 0; i < 3; ++i) {
      t.num("close a copy", close(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)));
      t.num("write", write(fd.get(), "X", 1));
    }
    t.content("content", dir + "/f");
  });
}

TEST_F(HandlesTest, TemporaryFileGetsAName) {
  PFS_NEEDS_HANDLES();
  const Trace native = same([](Trace& t, const std::string& dir) {
    const UniqueFd fd(t.ok("O_TMPFILE", open(dir.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0640)));
    t.num("write", write(fd.get(), "content", 7));
    t.fstat("fstat", fd.get());
    const std::string self = "/proc/self/fd/" + std::to_string(fd.get());
    t.num("linkat",
          linkat(AT_FDCWD, self.c_str(), AT_FDCWD, (dir + "/named").c_str(), AT_SYMLINK_FOLLOW));
    t.fstat("fstat", fd.get());
    t.stat("stat", dir + "/named");
    t.content("content", dir + "/named");
    t.num("linkat again",
          linkat(AT_FDCWD, self.c_str(), AT_FDCWD, (dir + "/named").c_str(), AT_SYMLINK_FOLLOW));
    t.num("write", write(fd.get(), "!", 1));
    t.content("content", dir + "/named");
    const UniqueFd locked(
        t.ok("O_EXCL", open(dir.c_str(), O_RDWR | O_TMPFILE | O_EXCL | O_CLOEXEC, 0640)));
    t.num("linkat of it", linkat(locked.get(), "", AT_FDCWD, (dir + "/x").c_str(), AT_EMPTY_PATH));
    t.ok("read only", try_open(dir, O_RDONLY | O_TMPFILE, 0640));
    t.ok("in a file", try_open(dir + "/named", O_RDWR | O_TMPFILE, 0640));
  });
  EXPECT_EQ(native.count("linkat", "0"), 1);
}

TEST_F(HandlesTest, ExclusiveCreateHasOneWinner) {
  std::vector<std::unique_ptr<Child>> children;
  const Gate start;
  constexpr int kChildren = 4;
  constexpr int kFiles = 50;
  for (int i = 0; i < kChildren; ++i) {
    children.push_back(std::make_unique<Child>([&] {
      ASSERT_TRUE(start.wait());
      for (int file = 0; file < kFiles; ++file) {
        const std::string path = mnt("f" + std::to_string(file));
        const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
        if (fd.valid()) {
          const UniqueFd log(open(mnt("log").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
          ASSERT_EQ(write(log.get(), "w", 1), 1);
        } else {
          ASSERT_EQ(errno, EEXIST);
        }
      }
    }));
  }
  write_file(mnt("log"), "");
  start.pass(kChildren);
  for (const auto& child : children) {
    child->join();
  }
  EXPECT_EQ(read_file(mnt("log")), std::string(kFiles, 'w'));
}

TEST_F(HandlesTest, OpenFlagsAnswerAsNatively) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "0123456789");
    make_dir(dir + "/d");
    ASSERT_EQ(symlink("f", (dir + "/link").c_str()), 0);
    ASSERT_EQ(symlink("d", (dir + "/dlink").c_str()), 0);
    ASSERT_EQ(symlink("none", (dir + "/dangling").c_str()), 0);
    ASSERT_EQ(symlink("loop", (dir + "/loop").c_str()), 0);
    for (const char* name : {"f", "d", "link", "dlink", "dangling", "loop", "none", "f/x", "d/x",
                             "f/", "link/", "dlink/", "none/"}) {
      for (const int flags :
           {O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_NOFOLLOW, O_RDONLY | O_DIRECTORY, O_PATH,
            O_PATH | O_NOFOLLOW, O_PATH | O_DIRECTORY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
            O_WRONLY | O_CREAT | O_EXCL, O_WRONLY | O_CREAT | O_NOFOLLOW, O_RDONLY | O_NOATIME,
            O_RDWR | O_SYNC, O_RDONLY | O_NONBLOCK}) {
        const UniqueFd fd(t.ok(std::string(name) + " flags " + std::to_string(flags),
                               open((dir + "/" + name).c_str(), flags | O_CLOEXEC, 0644)));
        if (fd.valid()) {
          t.fstat("fstat", fd.get());
          t.num("getfl", fcntl(fd.get(), F_GETFL) & ~0100000);
        }
        if ((flags & O_CREAT) != 0 && fd.valid()) {
          t.num("unlink", unlink((dir + "/none").c_str()));
        }
      }
    }
  });
}

TEST_F(HandlesTest, PathDescriptorsAndTheirReopening) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "0123456789");
    const UniqueFd path(t.ok("O_PATH", open((dir + "/f").c_str(), O_PATH | O_CLOEXEC)));
    char byte = 0;
    t.num("read", read(path.get(), &byte, 1));
    t.fstat("fstat", path.get());
    t.num("fchmod", fchmod(path.get(), 0600));
    t.num("unlink", unlink((dir + "/f").c_str()));
    const std::string self = "/proc/self/fd/" + std::to_string(path.get());
    const UniqueFd fd(t.ok("reopen", open(self.c_str(), O_RDWR | O_CLOEXEC)));
    t.num("read", read(fd.get(), &byte, 1));
    t.num("write", write(fd.get(), "X", 1));
    t.num("chmod", chmod(self.c_str(), 0600));
    t.fstat("fstat", path.get());
  });
}

TEST_F(HandlesTest, AccessModeIsKept) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "0123456789");
    char byte = 'x';
    for (const int mode : {O_RDONLY, O_WRONLY, O_RDWR, O_ACCMODE}) {
      const UniqueFd fd(t.ok("open", open((dir + "/f").c_str(), mode | O_CLOEXEC)));
      t.num("read", pread(fd.get(), &byte, 1, 0));
      t.num("write", pwrite(fd.get(), "x", 1, 0));
      t.num("ftruncate", ftruncate(fd.get(), 10));
      t.num("fallocate", fallocate(fd.get(), 0, 0, 20));
      t.num("fsync", fsync(fd.get()));
    }
  });
}

TEST_F(HandlesTest, FifoJoinsTwoProcesses) {
  ASSERT_EQ(mkfifo(mnt("fifo").c_str(), 0644), 0);
  Child reader([&] {
    const UniqueFd fd(open(mnt("fifo").c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(fd.valid());
    std::array<char, 16> buffer{};
    ASSERT_EQ(read(fd.get(), buffer.data(), buffer.size()), 5);
    ASSERT_EQ(read(fd.get(), buffer.data() + 5, 5), 0);
    EXPECT_STREQ(buffer.data(), "hello");
  });
  // The reader may wait in its open for ever; the mount goes on.
  ASSERT_TRUE(wait_until([&] { return reader.sleeps_in(SYS_openat); }));
  write_file(mnt("other"), "x");
  EXPECT_EQ(read_file(mnt("other")), "x");
  UniqueFd fd(open(mnt("fifo").c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(write(fd.get(), "hello", 5), 5);
  fd.reset();
  EXPECT_TRUE(reader.join());
}

TEST_F(HandlesTest, FifosAndDevicesAnswerAsNatively) {
  PFS_NEEDS_ROOT();
  same([](Trace& t, const std::string& dir) {
    ASSERT_EQ(mkfifo((dir + "/fifo").c_str(), 0644), 0);
    t.num("socket", mknod((dir + "/socket").c_str(), S_IFSOCK | 0644, 0));
    t.num("null", mknod((dir + "/null").c_str(), S_IFCHR | 0666, makedev(1, 3)));
    t.num("block", mknod((dir + "/block").c_str(), S_IFBLK | 0600, makedev(7, 200)));
    for (const char* name : {"fifo", "socket", "null", "block"}) {
      t.stat(name, dir + "/" + name);
      struct stat st {};
      t.num("lstat", lstat((dir + "/" + name).c_str(), &st));
      t.num("device", static_cast<long>(st.st_rdev));
    }
    t.ok("writer without a reader", try_open(dir + "/fifo", O_WRONLY | O_NONBLOCK));
    const UniqueFd both(t.ok("both", open((dir + "/fifo").c_str(), O_RDWR | O_CLOEXEC)));
    t.num("write", write(both.get(), "x", 1));
    char byte = 0;
    t.num("read", read(both.get(), &byte, 1));
    t.ok("socket", try_open(dir + "/socket", O_RDONLY));
    t.num("truncate", truncate((dir + "/fifo").c_str(), 0));
    t.num("chmod", chmod((dir + "/fifo").c_str(), 0600));
    t.stat("fifo", dir + "/fifo");
    t.num("unlink", unlink((dir + "/fifo").c_str()));
  });
}

TEST_F(HandlesTest, ManyHandlesOfOneFileAreTheirOwn) {
  write_file(mnt("f"), std::string(1000, '.'));
  std::vector<UniqueFd> fds;
  for (int i = 0; i < 500; ++i) {
    fds.emplace_back(open(mnt("f").c_str(), (i % 2 == 0 ? O_RDWR : O_RDONLY) | O_CLOEXEC));
    ASSERT_TRUE(fds.back().valid());
    ASSERT_EQ(lseek(fds.back().get(), i, SEEK_SET), i);
  }
  for (int i = 0; i < 500; ++i) {
    const char letter = static_cast<char>('a' + i % 26);
    ASSERT_EQ(write(fds[static_cast<std::size_t>(i)].get(), &letter, 1), i % 2 == 0 ? 1 : -1);
  }
  const std::string content = read_file(source("f"));
  for (std::size_t i = 0; i < 500; ++i) {
    ASSERT_EQ(content[i], i % 2 == 0 ? static_cast<char>('a' + i % 26) : '.');
  }
}

}  // namespace
}  // namespace passthroughfs::test
