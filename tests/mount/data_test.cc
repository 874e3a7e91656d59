// SPDX-License-Identifier: Apache-2.0
//
// Content: holes, preallocation, copies, and many ways to read and write.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "frozen_source.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

class DataTest : public MountTest {};

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string data(size, '\0');
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    const auto word = random();
    data.replace(i, 8, reinterpret_cast<const char*>(&word), 8);
  }
  return data;
}

UniqueFd open_file(const std::string& path, int flags) {
  return UniqueFd(open(path.c_str(), flags | O_CLOEXEC, 0644));
}

TEST_F(DataTest, HolesAndDataAreFoundAsNatively) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    const UniqueFd fd = open_file(dir + "/f", O_RDWR | O_CREAT);
    t.num("data of an empty file", lseek(fd.get(), 0, SEEK_DATA));
    t.num("hole of an empty file", lseek(fd.get(), 0, SEEK_HOLE));
    ASSERT_EQ(ftruncate(fd.get(), 1 << 20), 0);
    for (const off_t at : {off_t{65536}, off_t{300000}, off_t{1 << 19}}) {
      ASSERT_EQ(pwrite(fd.get(), std::string(8192, 'x').data(), 8192, at), 8192);
    }
    ASSERT_EQ(fsync(fd.get()), 0);
    for (const off_t at : {0, 1, 65535, 65536, 70000, 73728, 73729, 299999, 300000, 400000, 524288,
                           600000, 1048575, 1048576, 2000000}) {
      t.num("data", lseek(fd.get(), at, SEEK_DATA));
      t.num("position", lseek(fd.get(), 0, SEEK_CUR));
      t.num("hole", lseek(fd.get(), at, SEEK_HOLE));
      t.num("position", lseek(fd.get(), 0, SEEK_CUR));
    }
    t.num("negative", lseek(fd.get(), -1, SEEK_DATA));
    t.num("bad whence", lseek(fd.get(), 0, 17));
    t.num("end", lseek(fd.get(), -10, SEEK_END));
    t.num("beyond", lseek(fd.get(), 100, SEEK_END));
    t.num("before the start", lseek(fd.get(), -5, SEEK_SET));
    // One process asking for holes must not move another one's position.
    const UniqueFd other = open_file(dir + "/f", O_RDONLY);
    t.num("other", lseek(other.get(), 5, SEEK_SET));
    t.num("data", lseek(fd.get(), 0, SEEK_DATA));
    t.num("other", lseek(other.get(), 0, SEEK_CUR));
  });
  EXPECT_EQ(native.count("data", "65536"), 5);
}

TEST_F(DataTest, PreallocationAsNatively) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    constexpr int kKeep = FALLOC_FL_KEEP_SIZE;
    const UniqueFd fd = open_file(dir + "/f", O_RDWR | O_CREAT);
    const std::string data = noise(100000, 1);
    ASSERT_EQ(write(fd.get(), data.data(), data.size()), static_cast<ssize_t>(data.size()));
    auto step = [&](const char* name, int mode, off_t offset, off_t length) {
      t.num(name, fallocate(fd.get(), mode, offset, length));
      t.fstat("fstat", fd.get());
      t.note("content", std::to_string(std::hash<std::string>{}(read_file(dir + "/f"))));
    };
    step("extend", 0, 100000, 50000);
    step("inside", 0, 0, 1000);
    step("keep size", kKeep, 200000, 100000);
    step("punch", kKeep | FALLOC_FL_PUNCH_HOLE, 4096, 8192);
    step("punch parts", kKeep | FALLOC_FL_PUNCH_HOLE, 20001, 777);
    step("punch without keep", FALLOC_FL_PUNCH_HOLE, 0, 4096);
    step("punch over the end", kKeep | FALLOC_FL_PUNCH_HOLE, 140000, 1000000);
    step("zero", FALLOC_FL_ZERO_RANGE, 30000, 10000);
    step("zero and keep", FALLOC_FL_ZERO_RANGE | kKeep, 149000, 100000);
    step("zero and grow", FALLOC_FL_ZERO_RANGE, 149000, 100000);
    step("nothing", 0, 0, 0);
    step("negative", 0, -1, 10);
    step("unknown", 0x1000, 0, 10);
    step("too far", 0, 0x7fffffffffff0000, 0x10000);
    const UniqueFd reader = open_file(dir + "/f", O_RDONLY);
    t.num("read-only", fallocate(reader.get(), 0, 0, 10));
    t.num("posix", posix_fallocate(fd.get(), 0, 300000));
    t.fstat("fstat", fd.get());
  });
  EXPECT_EQ(native.count("punch", "0"), 1);
}

TEST_F(DataTest, WhatTheKernelKeepsFromFuseIsRefusedCleanly) {
  PFS_NEEDS_DAEMON();
  // fs/fuse/file.c forwards neither; nothing may be changed by the attempt.
  write_file(mnt("f"), noise(65536, 2));
  const UniqueFd fd = open_file(mnt("f"), O_RDWR);
  EXPECT_EQ(fallocate(fd.get(), FALLOC_FL_COLLAPSE_RANGE, 0, 4096), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
  EXPECT_EQ(fallocate(fd.get(), FALLOC_FL_INSERT_RANGE, 0, 4096), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
  EXPECT_TRUE(read_file(source("f")) == noise(65536, 2));
}

TEST_F(DataTest, CopyFileRangeAsNatively) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    write_file(dir + "/from", noise(300000, 3));
    write_file(dir + "/to", noise(1000, 4));
    const UniqueFd from = open_file(dir + "/from", O_RDWR);
    const UniqueFd to = open_file(dir + "/to", O_RDWR);
    const UniqueFd reader = open_file(dir + "/to", O_RDONLY);
    const UniqueFd appender = open_file(dir + "/to", O_WRONLY | O_APPEND);
    auto hash = [&](const std::string& name) {
      t.note(name, std::to_string(std::hash<std::string>{}(read_file(dir + "/" + name))));
      t.stat(name, dir + "/" + name);
    };
    auto copy = [&](const char* name, int in, off_t in_at, int out, off_t out_at, std::size_t n) {
      t.num(name, copy_file_range(in, &in_at, out, &out_at, n, 0));
      t.num("in", in_at);
      t.num("out", out_at);
      hash("to");
    };
    copy("other file", from.get(), 0, to.get(), 0, 300000);
    copy("middle", from.get(), 12345, to.get(), 777, 54321);
    copy("over the end", from.get(), 290000, to.get(), 400000, 100000);
    copy("at the end", from.get(), 300000, to.get(), 0, 10);
    copy("nothing", from.get(), 0, to.get(), 0, 0);
    copy("same file", to.get(), 0, to.get(), 600000, 5000);
    copy("overlap", to.get(), 0, to.get(), 1000, 5000);
    copy("same place", to.get(), 0, to.get(), 0, 5000);
    copy("to a read-only handle", from.get(), 0, reader.get(), 0, 10);
    copy("to an append handle", from.get(), 0, appender.get(), 0, 10);
    copy("from a write-only handle", appender.get(), 0, to.get(), 0, 10);
    copy("flags", from.get(), -5, to.get(), 0, 10);
    t.num("bad flag", copy_file_range(from.get(), nullptr, to.get(), nullptr, 10, 1));
    t.num("positions", copy_file_range(from.get(), nullptr, to.get(), nullptr, 10, 0));
    t.num("from is at", lseek(from.get(), 0, SEEK_CUR));
    t.num("to is at", lseek(to.get(), 0, SEEK_CUR));
    hash("to");
    const UniqueFd directory = open_file(dir, O_RDONLY | O_DIRECTORY);
    t.num("directory", copy_file_range(directory.get(), nullptr, to.get(), nullptr, 10, 0));
  });
  EXPECT_EQ(native.count("other file", "300000"), 1);
}

TEST_F(DataTest, CopyAcrossTheBorder) {
  write_file(mnt("from"), noise(3000000, 5));
  auto copy = [](const std::string& from, const std::string& to) {
    const UniqueFd in = open_file(from, O_RDONLY);
    const UniqueFd out = open_file(to, O_WRONLY | O_CREAT | O_TRUNC);
    for (ssize_t n = 1; n > 0;) {
      n = copy_file_range(in.get(), nullptr, out.get(), nullptr, 1 << 24, 0);
      if (n < 0 && errno == EXDEV) {  // two file systems may not know how; programs then do this
        n = sendfile(out.get(), in.get(), nullptr, 1 << 24);
      }
      ASSERT_GE(n, 0) << errno_name(errno);
    }
  };
  copy(mnt("from"), mount().tree() / "outside");
  EXPECT_TRUE(read_file(mount().tree() / "outside") == noise(3000000, 5));
  copy(mount().tree() / "outside", mnt("back"));
  EXPECT_TRUE(read_file(source("back")) == noise(3000000, 5));
}

TEST_F(DataTest, LargeFileIsTheSameOnBothSides) {
  constexpr std::size_t kSize = 100 << 20;
  {
    const std::string data = noise(kSize, 6);
    write_file(mnt("f"), data);
    EXPECT_TRUE(read_file(source("f")) == data);
    EXPECT_TRUE(read_file(mnt("f")) == data);
  }
  struct stat st {};
  ASSERT_EQ(stat(mnt("f").c_str(), &st), 0);
  EXPECT_EQ(st.st_size, static_cast<off_t>(kSize));
}

TEST_F(DataTest, OffsetsBeyondFourGigabytes) {
  same([](Trace& t, const std::string& dir) {
    const UniqueFd fd = open_file(dir + "/f", O_RDWR | O_CREAT);
    for (const off_t at : {0xfffffffeLL, 0x100000000LL, 0x7fffffffffLL, 0xff0000000000LL}) {
      t.num("pwrite", pwrite(fd.get(), "abcd", 4, at));
      char buffer[8] = {};
      t.num("pread", pread(fd.get(), buffer, sizeof buffer, at));
      t.note("got", std::string_view(buffer, 4));
      t.fstat("fstat", fd.get());
    }
  });
}

TEST_F(DataTest, ReadsAndWritesAtTheEdges) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", std::string(5000, '.'));
    const UniqueFd fd = open_file(dir + "/f", O_RDWR);
    std::string buffer(10000, '\0');
    for (const off_t at : {0, 1, 4095, 4096, 4999, 5000, 5001, 100000}) {
      t.num("pread", pread(fd.get(), buffer.data(), 10000, at));
      t.num("pread nothing", pread(fd.get(), buffer.data(), 0, at));
    }
    t.num("negative read", pread(fd.get(), buffer.data(), 10, -1));
    t.num("negative write", pwrite(fd.get(), buffer.data(), 10, -1));
    void* const forbidden = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    t.num("bad address", pread(fd.get(), forbidden, 10, 0));
    t.num("bad address", pwrite(fd.get(), forbidden, 10, 0));
    t.num("last byte", pwrite(fd.get(), "x", 1, 0x7fffffffffffffffLL));
    t.fstat("fstat", fd.get());
    const UniqueFd directory = open_file(dir, O_RDONLY | O_DIRECTORY);
    t.num("read a directory", read(directory.get(), buffer.data(), 10));
    std::array<iovec, 3> parts{iovec{buffer.data(), 3}, iovec{buffer.data() + 100, 0},
                               iovec{buffer.data() + 200, 4000}};
    t.num("preadv", preadv(fd.get(), parts.data(), 3, 1000));
    t.num("pwritev", pwritev(fd.get(), parts.data(), 3, 4500));
    t.fstat("fstat", fd.get());
  });
}

TEST_F(DataTest, FileSizeLimitAsNatively) {
  same([](Trace& trace, const std::string& dir) {
    in_child(trace, [&](Trace& t) {
      signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{10000, 10000};
      ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
      const UniqueFd fd = open_file(dir + "/f", O_RDWR | O_CREAT);
      const std::string data(20000, 'x');
      t.num("write", write(fd.get(), data.data(), data.size()));
      t.num("write", write(fd.get(), data.data(), data.size()));
      t.num("ftruncate", ftruncate(fd.get(), 20000));
      t.num("truncate", truncate((dir + "/f").c_str(), 20000));
      t.num("fallocate", fallocate(fd.get(), 0, 0, 20000));
      t.fstat("fstat", fd.get());
    });
  });
}

class DirectTest : public DataTest {
 protected:
  static constexpr std::size_t kBlock = 4096;
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  using Buffer = std::unique_ptr<char, Free>;
  static Buffer buffer(std::size_t size) {
    return Buffer(static_cast<char*>(std::aligned_alloc(kBlock, size)));
  }
};

TEST_F(DirectTest, AlignedTransfersAsNatively) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    const Buffer page = buffer(4 * kBlock);
    const UniqueFd fd(
        t.ok("open", open((dir + "/f").c_str(), O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0644)));
    const UniqueFd cached = open_file(dir + "/f", O_RDWR);
    std::fill_n(page.get(), 4 * kBlock, 'a');
    t.num("write", write(fd.get(), page.get(), 4 * kBlock));
    t.num("cached overwrite", pwrite(cached.get(), "cached", 6, 100));
    std::fill_n(page.get(), 4 * kBlock, '\0');
    t.num("read", pread(fd.get(), page.get(), 4 * kBlock, 0));
    t.note("sees", std::string_view(page.get() + 98, 10));
    std::fill_n(page.get(), kBlock, 'b');
    t.num("direct overwrite", pwrite(fd.get(), page.get(), kBlock, kBlock));
    char byte = 0;
    t.num("cached read", pread(cached.get(), &byte, 1, kBlock + 5));
    t.note("sees", std::string_view(&byte, 1));
    t.num("beyond the end", pread(fd.get(), page.get(), kBlock, 100 * kBlock));
    t.num("ftruncate", ftruncate(fd.get(), 6000));
    t.num("over the end", pread(fd.get(), page.get(), 2 * kBlock, kBlock));
    std::fill_n(page.get(), kBlock, 'c');
    t.num("append a page", pwrite(fd.get(), page.get(), kBlock, 2 * kBlock));
    t.fstat("fstat", fd.get());
    t.note("content", std::to_string(std::hash<std::string>{}(read_file(dir + "/f"))));
  });
  EXPECT_EQ(native.count("open", "ok"), 1);
}

TEST_F(DirectTest, MisalignedTransfersAsNatively) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", std::string(3 * kBlock, '.'));
    const Buffer page = buffer(4 * kBlock);
    const UniqueFd fd(open((dir + "/f").c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
    t.num("odd offset", pread(fd.get(), page.get(), kBlock, 1));
    t.num("odd length", pread(fd.get(), page.get(), 100, 0));
    t.num("odd offset write", pwrite(fd.get(), page.get(), kBlock, 1));
    t.num("odd length write", pwrite(fd.get(), page.get(), 100, 0));
    t.stat("stat", dir + "/f");
  });
}

TEST_F(DirectTest, TheFlagCanBeSetAndClearedLater) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", std::string(2 * kBlock, '.'));
    const Buffer page = buffer(kBlock);
    std::fill_n(page.get(), kBlock, 'd');
    const UniqueFd fd = open_file(dir + "/f", O_RDWR);
    t.num("set", fcntl(fd.get(), F_SETFL, O_DIRECT));
    t.num("write", pwrite(fd.get(), page.get(), kBlock, 0));
    t.num("read", pread(fd.get(), page.get(), kBlock, kBlock));
    t.num("clear", fcntl(fd.get(), F_SETFL, 0));
    t.num("unaligned write", pwrite(fd.get(), "xyz", 3, 7));
    char got[4] = {};
    t.num("unaligned read", pread(fd.get(), got, 3, 7));
    t.note("got", got);
    t.content("content", dir + "/f");
  });
}

TEST_F(DirectTest, LargeTransfersWithSeveralRequests) {
  constexpr std::size_t kSize = 8 << 20;
  const Buffer data = buffer(kSize);
  const std::string expected = noise(kSize, 7);
  std::copy(expected.begin(), expected.end(), data.get());
  const UniqueFd fd = open_file(mnt("f"), O_RDWR | O_CREAT | O_DIRECT);
  ASSERT_EQ(pwrite(fd.get(), data.get(), kSize, 0), static_cast<ssize_t>(kSize));
  EXPECT_TRUE(read_file(source("f")) == expected);
  std::fill_n(data.get(), kSize, '\0');
  ASSERT_EQ(pread(fd.get(), data.get(), kSize, 0), static_cast<ssize_t>(kSize));
  EXPECT_TRUE(std::string(data.get(), kSize) == expected);
}

TEST_F(DataTest, SynchronousWritesAndSyncs) {
  same([](Trace& t, const std::string& dir) {
    for (const int flag : {O_SYNC, O_DSYNC}) {
      const UniqueFd fd(
          t.ok("open", open((dir + "/f").c_str(), O_RDWR | O_CREAT | flag | O_CLOEXEC, 0644)));
      t.num("write", write(fd.get(), "content", 7));
      t.num("fsync", fsync(fd.get()));
      t.num("fdatasync", fdatasync(fd.get()));
      t.num("sync_file_range", sync_file_range(fd.get(), 0, 0, SYNC_FILE_RANGE_WRITE));
      t.num("syncfs", syncfs(fd.get()));
      t.num("flags", fcntl(fd.get(), F_GETFL) & (O_SYNC | O_DSYNC));
    }
    const UniqueFd directory = open_file(dir, O_RDONLY | O_DIRECTORY);
    t.num("directory", fsync(directory.get()));
    t.num("directory", fdatasync(directory.get()));
    const UniqueFd reader = open_file(dir + "/f", O_RDONLY);
    t.num("read-only", fsync(reader.get()));
    t.num("fadvise", posix_fadvise(reader.get(), 0, 0, POSIX_FADV_WILLNEED));
    t.num("fadvise", posix_fadvise(reader.get(), 0, 0, POSIX_FADV_DONTNEED));
    t.num("readahead", readahead(reader.get(), 0, 100));
    std::array<char, 8> buffer{};
    iovec part{buffer.data(), 7};
    t.num("RWF_DSYNC", pwritev2(UniqueFd(open((dir + "/f").c_str(), O_WRONLY | O_CLOEXEC)).get(),
                                &part, 1, 0, RWF_DSYNC));
  });
}

TEST_F(DataTest, SendfileAndSplice) {
  write_file(mnt("from"), noise(500000, 8));
  const UniqueFd from = open_file(mnt("from"), O_RDONLY);
  const UniqueFd to = open_file(mnt("to"), O_RDWR | O_CREAT);
  off_t at = 0;
  while (at < 500000) {
    ASSERT_GT(sendfile(to.get(), from.get(), &at, 500000), 0);
  }
  EXPECT_TRUE(read_file(source("to")) == noise(500000, 8));

  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd reading(ends[0]);
  const UniqueFd writing(ends[1]);
  const UniqueFd spliced = open_file(mnt("spliced"), O_WRONLY | O_CREAT);
  loff_t in_at = 0;
  loff_t out_at = 0;
  while (in_at < 500000) {
    const ssize_t n = splice(from.get(), &in_at, writing.get(), nullptr, 65536, SPLICE_F_MOVE);
    ASSERT_GT(n, 0);
    for (ssize_t done = 0; done < n;) {
      const ssize_t m = splice(reading.get(), nullptr, spliced.get(), &out_at,
                               static_cast<std::size_t>(n - done), SPLICE_F_MOVE);
      ASSERT_GT(m, 0);
      done += m;
    }
  }
  EXPECT_TRUE(read_file(source("spliced")) == noise(500000, 8));
}

TEST_F(DataTest, ThreadsWriteTheirPartsOfOneFile) {
  constexpr std::size_t kThreads = 8;
  constexpr std::size_t kPart = 200000;
  const UniqueFd fd = open_file(mnt("f"), O_RDWR | O_CREAT);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      const std::string data = noise(kPart, static_cast<unsigned>(100 + i));
      for (std::size_t at = 0; at < kPart; at += 1000) {
        ASSERT_EQ(pwrite(fd.get(), data.data() + at, 1000, static_cast<off_t>(i * kPart + at)),
                  1000);
      }
      std::string back(kPart, '\0');
      ASSERT_EQ(pread(fd.get(), back.data(), kPart, static_cast<off_t>(i * kPart)),
                static_cast<ssize_t>(kPart));
      EXPECT_TRUE(back == data);
    });
  }
  std::string expected;
  for (std::size_t i = 0; i < kThreads; ++i) {
    threads[i].join();
    expected += noise(kPart, static_cast<unsigned>(100 + i));
  }
  EXPECT_TRUE(read_file(source("f")) == expected);
}

TEST_F(DataTest, ChangeBehindTheMountIsSeen) {
  PFS_NEEDS_A_SHARED_SOURCE();
  write_file(mnt("f"), "old content");
  ASSERT_EQ(read_file(mnt("f")), "old content");
  write_file(source("f"), "new");
  EXPECT_TRUE(wait_until([&] { return read_file(mnt("f")) == "new"; }));
  // The same length: only the times tell.
  next_timestamp();
  write_file(source("f"), "NEW");
  EXPECT_TRUE(wait_until([&] { return read_file(mnt("f")) == "NEW"; }));
  const UniqueFd outside = open_file(source("f"), O_WRONLY | O_APPEND);
  ASSERT_EQ(write(outside.get(), " and more", 9), 9);
  EXPECT_TRUE(wait_until([&] { return read_file(mnt("f")) == "NEW and more"; }));
}

TEST_F(DataTest, WriteThroughTheMountIsInTheSourceAtOnce) {
  const UniqueFd fd = open_file(mnt("f"), O_RDWR | O_CREAT);
  for (int i = 0; i < 100; ++i) {
    const std::string text = "version " + std::to_string(i);
    ASSERT_EQ(pwrite(fd.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    ASSERT_EQ(read_file(source("f")), text);
  }
}

// The threads of a process that are in this system call.
int threads_in(pid_t process, long call) {
  int count = 0;
  const std::string tasks = "/proc/" + std::to_string(process) + "/task";
  std::error_code gone;
  for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
    std::ifstream text(task.path() / "syscall");
    long number = -1;
    if (text >> number && number == call) ++count;
  }
  return count;
}

// A write that waits for the disk does not hold up others to the same file.
TEST(DirectDataTest, DirectWritesToOneFileGoSideBySide) {
  PFS_NEEDS_DAEMON();
  PFS_NEEDS_ROOT();
  FrozenSource disk;
  if (!disk.ok()) GTEST_SKIP() << "cannot make a file system on a loop device";
  constexpr std::size_t kBlock = 4096;
  write_file(disk.path() + "/f", std::string(2 * kBlock, '.'));
  Mount mount({.options = {"io=daemon", "handles=table"}, .source = disk.path()});
  ASSERT_TRUE(mount.ok());
  std::array<int, 2> ready{}, go{};
  ASSERT_EQ(pipe2(ready.data(), O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(go.data(), O_CLOEXEC), 0);
  const UniqueFd ready_out(ready[0]), ready_in(ready[1]), go_out(go[0]), go_in(go[1]);
  char byte = 0;
  std::vector<std::unique_ptr<Child>> writers;
  for (int i = 0; i < 2; ++i) {
    writers.push_back(std::make_unique<Child>([&, i] {
      const UniqueFd fd(open(mount.mnt("f").c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC));
      alignas(kBlock) static char block[kBlock];
      std::fill(std::begin(block), std::end(block), static_cast<char>('a' + i));
      ASSERT_EQ(write(ready_in.get(), "r", 1), 1);
      ASSERT_EQ(read(go_out.get(), &byte, 1), 1);
      ASSERT_EQ(pwrite(fd.get(), block, kBlock, i * static_cast<off_t>(kBlock)),
                static_cast<ssize_t>(kBlock));
    }));
  }
  for (int i = 0; i < 2; ++i) ASSERT_EQ(read(ready_out.get(), &byte, 1), 1);
  disk.freeze();
  ASSERT_EQ(write(go_in.get(), "gg", 2), 2);
  const bool together =
      wait_until([&] { return threads_in(mount.server_pid(), SYS_pwritev2) == 2; });
  disk.thaw();
  for (const auto& writer : writers) ASSERT_TRUE(writer->join());
  EXPECT_TRUE(together);
  EXPECT_EQ(read_file(mount.source("f")), std::string(kBlock, 'a') + std::string(kBlock, 'b'));
}

}  // namespace
}  // namespace passthroughfs::test
