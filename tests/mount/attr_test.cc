// SPDX-License-Identifier: Apache-2.0
//
// Attributes: what can be set is set exactly, and what is shown is true at once.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

class AttrTest : public MountTest {
 protected:
  struct statx statx_of(const std::string& path) const {
    struct statx stx {};
    EXPECT_EQ(
        statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &stx),
        0)
        << path;
    return stx;
  }
  // What the mount says about `name` is what the source says now.
  void expect_true(const std::string& name, const std::string& when) const {
    SCOPED_TRACE(name + " " + when);
    const struct statx mounted = statx_of(mnt(name));
    const struct statx real = statx_of(source(name));
    EXPECT_EQ(mounted.stx_mode, real.stx_mode);
    EXPECT_EQ(mounted.stx_nlink, real.stx_nlink);
    EXPECT_EQ(mounted.stx_uid, real.stx_uid);
    EXPECT_EQ(mounted.stx_gid, real.stx_gid);
    EXPECT_EQ(mounted.stx_ino, real.stx_ino);
    EXPECT_EQ(mounted.stx_size, real.stx_size);
    EXPECT_EQ(mounted.stx_blocks, real.stx_blocks);
    EXPECT_EQ(mounted.stx_blksize, real.stx_blksize);
    EXPECT_EQ(text(mounted.stx_mtime), text(real.stx_mtime));
    EXPECT_EQ(text(mounted.stx_ctime), text(real.stx_ctime));
    EXPECT_EQ(mounted.stx_mask & STATX_BTIME, real.stx_mask & STATX_BTIME);
    EXPECT_EQ(text(mounted.stx_btime), text(real.stx_btime));
  }
  static std::string text(const statx_timestamp& time) {
    return std::to_string(time.tv_sec) + "." + std::to_string(time.tv_nsec);
  }
};

constexpr timespec kOld = {1000000, 123456789};

void make_old(const std::string& path) {
  const timespec old[2] = {kOld, kOld};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), old, AT_SYMLINK_NOFOLLOW), 0);
}

// Which times of `path` differ from `before`: "mc" for modification and change.
std::string moved(const struct stat& before, const std::string& path) {
  struct stat now {};
  if (lstat(path.c_str(), &now) != 0) {
    return errno_name(errno);
  }
  auto differ = [](const timespec& a, const timespec& b) {
    return a.tv_sec != b.tv_sec || a.tv_nsec != b.tv_nsec;
  };
  return std::string(differ(before.st_mtim, now.st_mtim) ? "m" : "-") +
         (differ(before.st_ctim, now.st_ctim) ? "c" : "-");
}

// Records which times of `watched` a step moved.
void moves(Trace& t, const std::string& name, const std::string& watched,
           const std::function<void()>& step) {
  struct stat before {};
  ASSERT_EQ(lstat(watched.c_str(), &before), 0);
  next_timestamp();
  step();
  t.note(name, moved(before, watched));
}

TEST_F(AttrTest, ChmodKeepsAllTwelveBits) {
  PFS_NEEDS_ROOT();
  same([](Trace& trace, const std::string& dir) {
    write_file(dir + "/f", "");
    make_dir(dir + "/d");
    for (const char* name : {"/f", "/d"}) {
      const std::string path = dir + name;
      for (const mode_t mode :
           {07777U, 0U, 04000U, 02000U, 01000U, 04711U, 02755U, 01777U, 06666U, 0644U, 0200U}) {
        trace.num("chmod", chmod(path.c_str(), mode));
        trace.stat("stat", path);
      }
      ASSERT_EQ(chown(path.c_str(), kAlice.uid, kBob.gid), 0);
      run_as(kBob, trace, [&](Trace& t) { t.num("not the owner", chmod(path.c_str(), 0777)); });
      // The owner is not in the group of the file: setgid goes.
      run_as(kAlice, trace, [&](Trace& t) { t.num("owner", chmod(path.c_str(), 07777)); });
      trace.stat("stat", path);
      run_as(Identity{kAlice.uid, kAlice.gid, {kBob.gid}}, trace,
             [&](Trace& t) { t.num("member", chmod(path.c_str(), 07777)); });
      trace.stat("stat", path);
    }
    ASSERT_EQ(symlink("f", (dir + "/link").c_str()), 0);
    trace.num("through a symlink", chmod((dir + "/link").c_str(), 0600));
    trace.stat("f", dir + "/f");
    trace.num("on a symlink",
              fchmodat(AT_FDCWD, (dir + "/link").c_str(), 0600, AT_SYMLINK_NOFOLLOW));
    trace.num("missing", chmod((dir + "/none").c_str(), 0600));
  });
}

TEST_F(AttrTest, ChownAsNatively) {
  PFS_NEEDS_ROOT();
  const gid_t group = 50077;
  same([&](Trace& trace, const std::string& dir) {
    const std::string path = dir + "/f";
    ASSERT_EQ(chmod(dir.c_str(), 0777), 0);
    auto fresh = [&](mode_t mode) {
      (void)unlink(path.c_str());
      write_file(path, "x");
      ASSERT_EQ(chown(path.c_str(), kAlice.uid, kAlice.gid), 0);
      ASSERT_EQ(chmod(path.c_str(), mode), 0);
    };
    // chown(-1, -1) has a test of its own below: the file must not be open for writing.
    for (const mode_t mode : {0644U, 06755U, 02644U, 04644U, 07777U}) {
      for (const auto& [uid, gid] : std::vector<std::pair<uid_t, gid_t>>{{kBob.uid, kBob.gid},
                                                                         {-1, group},
                                                                         {kAlice.uid, -1},
                                                                         {kAlice.uid, group},
                                                                         {-1, kBob.gid}}) {
        for (const Identity& who : {kRoot, Identity{kAlice.uid, kAlice.gid, {group}}, kBob}) {
          fresh(mode);
          run_as(who, trace,
                 [&, u = uid, g = gid](Trace& t) { t.num("chown", chown(path.c_str(), u, g)); });
          trace.stat("stat", path);
        }
      }
    }
    ASSERT_EQ(symlink("f", (dir + "/link").c_str()), 0);
    trace.num("lchown", lchown((dir + "/link").c_str(), kBob.uid, kBob.gid));
    trace.stat("link", dir + "/link");
    trace.stat("f", path);
    make_dir(dir + "/d", 06775);
    trace.num("directory", chown((dir + "/d").c_str(), kBob.uid, kBob.gid));
    trace.stat("d", dir + "/d");
  });
}

// It reaches a FUSE file system as a request that changes nothing, the same that announces a write
// to a set-id file, and must not let those who may not write there drop the bits. The files are
// made on the source: the RELEASE of a writer comes at no known time.
TEST_F(AttrTest, ChownToNobodyAsNatively) {
  PFS_NEEDS_ROOT();
  PFS_NEEDS_HANDLES();
  int made = 0;
  for (const mode_t mode : {0644U, 06755U, 02644U, 04644U, 07777U}) {
    for (const std::string& name : {source("f"), mount().native("f")}) {
      for (int who = 0; who < 3; ++who) {
        const std::string path = name + std::to_string(made + who);
        write_file(path, "x");
        ASSERT_EQ(chown(path.c_str(), kAlice.uid, kAlice.gid), 0);
        ASSERT_EQ(chmod(path.c_str(), mode), 0);
      }
    }
    made += 3;
  }
  constexpr auto kNobody = static_cast<uid_t>(-1);
  const Trace native = same([&](Trace& trace, const std::string& dir) {
    for (int i = 0; i < made; i += 3) {
      int n = i;
      for (const Identity& who : {kRoot, kAlice, kBob}) {
        const std::string path = dir + "/f" + std::to_string(n++);
        struct stat before {};
        ASSERT_EQ(stat(path.c_str(), &before), 0);
        run_as(who, trace,
               [&](Trace& t) { t.num("chown", chown(path.c_str(), kNobody, kNobody)); });
        trace.stat("stat", path);
      }
    }
  });
  EXPECT_EQ(native.count("chown", "EPERM"), 4) << "Bob and the four with set-id bits";
}

// The other use of that request: whoever may write drops the bits by writing.
TEST_F(AttrTest, AWriteByAnyoneDropsSetIdBits) {
  PFS_NEEDS_ROOT();
  same([&](Trace& trace, const std::string& dir) {
    const std::string path = dir + "/f";
    write_file(path, "x");
    for (const Identity& who : {kRoot, kAlice, kBob}) {
      ASSERT_EQ(chown(path.c_str(), kAlice.uid, kAlice.gid), 0);
      ASSERT_EQ(chmod(path.c_str(), 06777), 0);
      run_as(who, trace, [&](Trace& t) {
        const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
        t.num("write", write(fd.get(), "y", 1));
      });
      trace.stat("stat", path);
    }
  });
}

TEST_F(AttrTest, TimesAreSetExactly) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    const std::string path = dir + "/f";
    write_file(path, "x");
    ASSERT_EQ(symlink("f", (dir + "/link").c_str()), 0);
    const timespec a = {1234567890, 987654321};
    const timespec b = {2000000000, 1};
    const timespec now = {0, UTIME_NOW};
    const timespec omit = {0, UTIME_OMIT};
    const timespec far = {5000000000, 0};
    const timespec negative = {-100000, 5};
    const timespec bad = {0, 1000000000};
    const std::vector<std::pair<timespec, timespec>> pairs = {
        {a, b},      {omit, a},  {b, omit},       {omit, omit}, {now, omit},
        {omit, now}, {now, now}, {far, negative}, {bad, a},     {a, now}};
    for (const char* name : {"/f", "/link"}) {
      for (const auto& [atime, mtime] : pairs) {
        make_old(dir + name);
        const timespec times[2] = {atime, mtime};
        t.num("utimensat", utimensat(AT_FDCWD, (dir + name).c_str(), times, AT_SYMLINK_NOFOLLOW));
        struct stat st {};
        ASSERT_EQ(lstat((dir + name).c_str(), &st), 0);
        auto say = [&](const char* which, const timespec& asked, const timespec& got) {
          const timespec clock = {time(nullptr), 0};
          if (asked.tv_nsec == UTIME_NOW) {
            // The clock of time(2) may be a tick behind that of the file.
            t.note(which, got.tv_sec > clock.tv_sec - 60 && got.tv_sec <= clock.tv_sec + 1);
          } else {
            t.note(which, std::to_string(got.tv_sec) + "." + std::to_string(got.tv_nsec));
          }
        };
        say("atime", atime, st.st_atim);
        say("mtime", mtime, st.st_mtim);
      }
    }
    make_old(path);
    const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const timespec times[2] = {a, b};
    t.num("futimens", futimens(fd.get(), times));
    struct stat st {};
    ASSERT_EQ(stat(path.c_str(), &st), 0);
    t.num("mtime", static_cast<long>(st.st_mtim.tv_sec));
    t.num("null", utimensat(AT_FDCWD, path.c_str(), nullptr, 0));
  });
  EXPECT_EQ(native.count("mtime", "1000000.123456789"), 8) << "omitted";
}

TEST_F(AttrTest, WhoMaySetTimes) {
  PFS_NEEDS_ROOT();
  same([](Trace& trace, const std::string& dir) {
    for (const mode_t mode : {0644U, 0666U, 0400U}) {
      const std::string path = dir + "/" + std::to_string(mode);
      write_file(path, "x");
      ASSERT_EQ(chmod(path.c_str(), mode), 0);
      ASSERT_EQ(chown(path.c_str(), kAlice.uid, kAlice.gid), 0);
      for (const Identity& who : {kAlice, kBob}) {
        run_as(who, trace, [&](Trace& t) {
          const timespec explicit_times[2] = {{1000, 0}, {2000, 0}};
          const timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
          const timespec half[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
          const timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
          t.num("explicit", utimensat(AT_FDCWD, path.c_str(), explicit_times, 0));
          t.num("now", utimensat(AT_FDCWD, path.c_str(), now, 0));
          t.num("null", utimensat(AT_FDCWD, path.c_str(), nullptr, 0));
          t.num("now and omit", utimensat(AT_FDCWD, path.c_str(), half, 0));
          t.num("omit", utimensat(AT_FDCWD, path.c_str(), omit, 0));
        });
      }
    }
  });
}

TEST_F(AttrTest, EverythingAndBirthTimeIsTheSources) {
  write_file(mnt("f"), "content");
  make_dir(mnt("d"));
  ASSERT_EQ(symlink("f", mnt("link").c_str()), 0);
  ASSERT_EQ(mkfifo(mnt("fifo").c_str(), 0600), 0);
  for (const char* name : {"f", "d", "link", "fifo", ""}) {
    expect_true(name, "after its creation");
  }
  EXPECT_NE(statx_of(mnt("f")).stx_mask & STATX_BTIME, 0U);
}

TEST_F(AttrTest, OneDeviceForTheWholeMount) {
  PFS_NEEDS_DAEMON();
  write_file(mnt("f"), "content");
  struct stat root {};
  struct stat file {};
  struct stat real {};
  ASSERT_EQ(stat(mnt("").c_str(), &root), 0);
  ASSERT_EQ(stat(mnt("f").c_str(), &file), 0);
  ASSERT_EQ(stat(source("f").c_str(), &real), 0);
  EXPECT_EQ(root.st_dev, file.st_dev);
  EXPECT_NE(file.st_dev, real.st_dev);
}

TEST_F(AttrTest, HardLinksAreOneFile) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/a", "0123456789");
    t.num("link", link((dir + "/a").c_str(), (dir + "/b").c_str()));
    t.stat("a", dir + "/a");
    t.stat("b", dir + "/b");
    moves(t, "chmod through a, seen through b", dir + "/b",
          [&] { (void)chmod((dir + "/a").c_str(), 0600); });
    t.stat("b", dir + "/b");
    moves(t, "write through a, seen through b", dir + "/b", [&] { write_file(dir + "/a", "xy"); });
    t.stat("b", dir + "/b");
    moves(t, "third link, seen through b", dir + "/b",
          [&] { (void)link((dir + "/a").c_str(), (dir + "/c").c_str()); });
    t.stat("b", dir + "/b");
    moves(t, "unlink of a, seen through b", dir + "/b",
          [&] { (void)unlink((dir + "/a").c_str()); });
    t.stat("b", dir + "/b");
    write_file(dir + "/d", "");
    moves(t, "rename over c, seen through b", dir + "/b",
          [&] { (void)rename((dir + "/d").c_str(), (dir + "/c").c_str()); });
    t.stat("b", dir + "/b");
    moves(t, "rename of b", dir + "/b",
          [&] { (void)rename((dir + "/b").c_str(), (dir + "/e").c_str()); });
    t.stat("e", dir + "/e");
    struct stat one {};
    struct stat two {};
    ASSERT_EQ(link((dir + "/e").c_str(), (dir + "/f").c_str()), 0);
    ASSERT_EQ(stat((dir + "/e").c_str(), &one), 0);
    ASSERT_EQ(stat((dir + "/f").c_str(), &two), 0);
    t.note("same inode", one.st_ino == two.st_ino);
  });
}

TEST_F(AttrTest, ParentsTimesMove) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    const std::string d = dir + "/d";
    make_dir(d);
    make_dir(dir + "/e");
    auto step = [&](const std::string& name, const std::function<int()>& call) {
      moves(t, name, d, [&] { t.num(name + " result", call()); });
    };
    step("create", [&] { return try_open(d + "/f", O_WRONLY | O_CREAT); });
    step("open existing", [&] { return try_open(d + "/f", O_WRONLY | O_CREAT); });
    step("write", [&] { return write_file(d + "/f", "x"), 0; });
    step("chmod", [&] { return chmod((d + "/f").c_str(), 0600); });
    step("link", [&] { return link((d + "/f").c_str(), (d + "/g").c_str()); });
    step("symlink", [&] { return symlink("f", (d + "/s").c_str()); });
    step("mknod", [&] { return mkfifo((d + "/p").c_str(), 0644); });
    step("mkdir", [&] { return mkdir((d + "/sub").c_str(), 0755); });
    step("rename inside", [&] { return rename((d + "/f").c_str(), (d + "/h").c_str()); });
    step("rename out", [&] { return rename((d + "/h").c_str(), (dir + "/e/h").c_str()); });
    step("rename in", [&] { return rename((dir + "/e/h").c_str(), (d + "/h").c_str()); });
    step("rename over", [&] { return rename((d + "/h").c_str(), (d + "/p").c_str()); });
    step("failed mkdir", [&] { return mkdir((d + "/sub").c_str(), 0755); });
    step("unlink", [&] { return unlink((d + "/g").c_str()); });
    step("rmdir", [&] { return rmdir((d + "/sub").c_str()); });
    step("failed unlink", [&] { return unlink((d + "/g").c_str()); });
  });
  EXPECT_EQ(native.count("create", "mc"), 1);
  EXPECT_EQ(native.count("write", "--"), 1);
}

TEST_F(AttrTest, FilesTimesMove) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    const std::string path = dir + "/f";
    write_file(path, "0123456789");
    const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
    auto step = [&](const std::string& name, const std::function<long()>& call) {
      moves(t, name, path, [&] { t.num(name + " result", call()); });
    };
    char byte = 'x';
    step("pwrite", [&] { return pwrite(fd.get(), &byte, 1, 0); });
    step("pread", [&] { return pread(fd.get(), &byte, 1, 0); });
    step("ftruncate", [&] { return ftruncate(fd.get(), 5); });
    step("fallocate", [&] { return fallocate(fd.get(), 0, 0, 100); });
    step("keep size", [&] { return fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, 0, 9000); });
    step("punch",
         [&] { return fallocate(fd.get(), FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 10); });
    step("fchmod", [&] { return fchmod(fd.get(), 0640); });
    step("same mode", [&] { return fchmod(fd.get(), 0640); });
    step("fchown", [&] { return fchown(fd.get(), getuid(), getgid()); });
    step("link", [&] { return link(path.c_str(), (dir + "/g").c_str()); });
    step("unlink", [&] { return unlink((dir + "/g").c_str()); });
    step("rename", [&] {
      return rename(path.c_str(), (dir + "/r").c_str()) == 0
                 ? rename((dir + "/r").c_str(), path.c_str())
                 : -1;
    });
    step("failed truncate", [&] { return ftruncate(fd.get(), -1); });
    step("empty write", [&] { return pwrite(fd.get(), &byte, 0, 0); });
  });
  EXPECT_EQ(native.count("pwrite", "mc"), 1);
}

TEST_F(AttrTest, SparseFilesShowTheirBlocks) {
  const UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_EQ(ftruncate(fd.get(), 1 << 30), 0);
  expect_true("f", "after growing");
  ASSERT_EQ(pwrite(fd.get(), "x", 1, 1 << 29), 1);
  ASSERT_EQ(fsync(fd.get()), 0);
  expect_true("f", "after one block");
  EXPECT_LT(statx_of(mnt("f")).stx_blocks, 1000U);
}

TEST_F(AttrTest, AttributesAreTrueRightAfterEachChange) {
  const UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  expect_true("f", "after its creation");
  const std::string data(100000, 'x');
  auto step = [&](const std::string& name, auto call) {
    expect_true("f", "before " + name);
    next_timestamp();
    ASSERT_GE(call(), 0) << name;
    expect_true("f", "after " + name);
  };
  step("write", [&] { return write(fd.get(), data.data(), data.size()); });
  step("ftruncate", [&] { return ftruncate(fd.get(), 12345); });
  step("fallocate", [&] { return fallocate(fd.get(), 0, 0, 1 << 20); });
  step("punch",
       [&] { return fallocate(fd.get(), FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 8192); });
  step("pwrite", [&] { return pwrite(fd.get(), "x", 1, 2 << 20); });
  step("fchmod", [&] { return fchmod(fd.get(), 04711); });
  step("write with setuid", [&] { return pwrite(fd.get(), "x", 1, 0); });
  step("link", [&] { return link(mnt("f").c_str(), mnt("g").c_str()); });
  step("futimens", [&] {
    const timespec times[2] = {kOld, kOld};
    return futimens(fd.get(), times);
  });
  step("O_TRUNC", [&] { return try_open(mnt("f"), O_WRONLY | O_TRUNC); });
  step("rename", [&] { return rename(mnt("g").c_str(), mnt("f").c_str()); });
  step("copy_file_range", [&] {
    write_file(mnt("from"), data);
    const UniqueFd from(open(mnt("from").c_str(), O_RDONLY | O_CLOEXEC));
    return copy_file_range(from.get(), nullptr, fd.get(), nullptr, data.size(), 0);
  });
}

// A page stored through a mapping counts as a modification when it reaches the file, at the latest
// at msync or munmap.
TEST_F(AttrTest, MappedStoresMoveTheTimes) {
  write_file(mnt("f"), std::string(4096, '.'));
  const UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CLOEXEC));
  void* map = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  make_old(mnt("f"));
  struct stat before {};
  ASSERT_EQ(stat(mnt("f").c_str(), &before), 0);
  static_cast<char*>(map)[10] = 'x';
  ASSERT_EQ(msync(map, 4096, MS_SYNC), 0);
  EXPECT_EQ(moved(before, mnt("f")), "mc");
  expect_true("f", "after msync");
  make_old(mnt("f"));
  ASSERT_EQ(stat(mnt("f").c_str(), &before), 0);
  static_cast<char*>(map)[11] = 'x';
  ASSERT_EQ(munmap(map, 4096), 0);
  EXPECT_EQ(moved(before, mnt("f")), "mc");
  expect_true("f", "after munmap");
  EXPECT_EQ(read_file(source("f")).substr(9, 4), ".xx.");
}

// Explicit times must not be overwritten by data that was written before them.
TEST_F(AttrTest, TimesSetAfterAWriteStay) {
  const UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_EQ(write(fd.get(), "content", 7), 7);
  const timespec times[2] = {kOld, kOld};
  ASSERT_EQ(futimens(fd.get(), times), 0);
  ASSERT_EQ(fsync(fd.get()), 0);
  EXPECT_EQ(statx_of(mnt("f")).stx_mtime.tv_sec, kOld.tv_sec);
}

TEST_F(AttrTest, ReadingMovesTheAccessTimeAsNatively) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "content");
    make_old(dir + "/f");
    struct stat st {};
    t.note("content", read_file(dir + "/f"));
    ASSERT_EQ(stat((dir + "/f").c_str(), &st), 0);
    t.note("read moved it", st.st_atim.tv_sec != kOld.tv_sec);
    make_old(dir + "/f");
    const UniqueFd fd(open((dir + "/f").c_str(), O_RDONLY | O_NOATIME | O_CLOEXEC));
    char byte = 0;
    t.num("read", read(fd.get(), &byte, 1));
    ASSERT_EQ(stat((dir + "/f").c_str(), &st), 0);
    t.note("O_NOATIME moved it", st.st_atim.tv_sec != kOld.tv_sec);
  });
}

TEST_F(AttrTest, StatfsIsTheSources) {
  write_file(mnt("f"), "");
  struct statvfs mounted {};
  struct statvfs real {};
  for (const char* name : {"", "f"}) {
    ASSERT_EQ(statvfs(mnt(name).c_str(), &mounted), 0);
    ASSERT_EQ(statvfs(source(name).c_str(), &real), 0);
    EXPECT_EQ(mounted.f_bsize, real.f_bsize);
    EXPECT_EQ(mounted.f_frsize, real.f_frsize);
    EXPECT_EQ(mounted.f_blocks, real.f_blocks);
    EXPECT_EQ(mounted.f_files, real.f_files);
    EXPECT_EQ(mounted.f_namemax, real.f_namemax);
    // Others use the disk at the same time.
    EXPECT_NEAR(static_cast<double>(mounted.f_bavail), static_cast<double>(real.f_bavail),
                static_cast<double>(real.f_blocks) / 20);
  }
}

TEST_F(AttrTest, AccessAnswersAsNatively) {
  PFS_NEEDS_ROOT();
  same([](Trace& trace, const std::string& dir) {
    for (const mode_t mode : {0777U, 0750U, 0604U, 0070U, 0007U, 0U, 0111U}) {
      const std::string path = dir + "/" + std::to_string(mode);
      write_file(path, "x");
      ASSERT_EQ(chmod(path.c_str(), mode), 0);
      ASSERT_EQ(chown(path.c_str(), kAlice.uid, kAlice.gid), 0);
      for (const Identity& who :
           {kRoot, kAlice, kBob, Identity{kBob.uid, kBob.gid, {kAlice.gid}}}) {
        run_as(who, trace, [&](Trace& t) {
          for (const int what : {F_OK, R_OK, W_OK, X_OK, R_OK | W_OK | X_OK}) {
            t.num("access", access(path.c_str(), what));
            t.num("eaccess", faccessat(AT_FDCWD, path.c_str(), what, AT_EACCESS));
          }
        });
      }
    }
  });
}

TEST_F(AttrTest, ChangesBehindTheMountAreSeen) {
  PFS_NEEDS_A_SHARED_SOURCE();
  write_file(mnt("f"), "content");
  expect_true("f", "before");
  ASSERT_EQ(chmod(source("f").c_str(), 0600), 0);
  write_file(source("f"), "longer content");
  ASSERT_EQ(link(source("f").c_str(), source("g").c_str()), 0);
  EXPECT_TRUE(wait_until([&] { return statx_of(mnt("f")).stx_mode == (S_IFREG | 0600); }));
  EXPECT_TRUE(wait_until([&] { return statx_of(mnt("f")).stx_size == 14; }));
  EXPECT_TRUE(wait_until([&] { return statx_of(mnt("f")).stx_nlink == 2; }));
  EXPECT_TRUE(wait_until([&] { return access(mnt("g").c_str(), F_OK) == 0; }));
  ASSERT_EQ(unlink(source("f").c_str()), 0);
  EXPECT_TRUE(wait_until([&] { return access(mnt("f").c_str(), F_OK) != 0; }));
}

TEST_F(AttrTest, NameThatWasMissingAppears) {
  PFS_NEEDS_A_SHARED_SOURCE();
  ASSERT_NE(access(mnt("f").c_str(), F_OK), 0);
  write_file(source("f"), "x");
  EXPECT_TRUE(wait_until([&] { return access(mnt("f").c_str(), F_OK) == 0; }));
}

}  // namespace
}  // namespace passthroughfs::test
