// SPDX-License-Identifier: Apache-2.0
//
// O_APPEND: whole records from many writers, on both sides of the mount, and what becomes of an
// append handle when the flag changes or its pages are mapped.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

class AppendTest : public MountTest {};

constexpr int kRecords = 400;

// A line whose content follows from writer and number, of a length between 10 and about 300.
std::string record(int writer, int number) {
  std::string line = std::to_string(writer) + " " + std::to_string(number) + " ";
  line.append(static_cast<std::size_t>((number * 37 + writer * 11) % 293),
              static_cast<char>('a' + writer % 26));
  return line + "\n";
}

void append_records(const std::string& path, int writer) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  ASSERT_TRUE(fd.valid());
  for (int i = 0; i < kRecords; ++i) {
    const std::string line = record(writer, i);
    ASSERT_EQ(write(fd.get(), line.data(), line.size()), static_cast<ssize_t>(line.size()));
  }
}

// Each of `writers` left its kRecords records, whole and in order, and nothing else is there.
void expect_all_records(const std::string& content, int writers) {
  std::map<int, int> next;
  std::istringstream lines(content);
  for (std::string line; std::getline(lines, line);) {
    const int writer = std::atoi(line.c_str());
    ASSERT_EQ(line + "\n", record(writer, next[writer])) << "torn, lost or repeated";
    ++next[writer];
  }
  ASSERT_EQ(static_cast<int>(next.size()), writers);
  for (const auto& [writer, count] : next) {
    EXPECT_EQ(count, kRecords) << "of writer " << writer;
  }
}

// Runs one child per path, all at once.
void append_in_parallel(const std::vector<std::string>& paths) {
  const Gate start;
  std::vector<std::unique_ptr<Child>> children;
  int writer = 0;
  for (const std::string& path : paths) {
    children.push_back(std::make_unique<Child>([&start, path, writer] {
      ASSERT_TRUE(start.wait());
      append_records(path, writer);
    }));
    ++writer;
  }
  start.pass(static_cast<unsigned>(paths.size()));
  for (const auto& child : children) {
    child->join();
  }
}

TEST_F(AppendTest, SeveralProcessesLoseAndTearNothing) {
  write_file(mnt("f"), "");
  append_in_parallel(std::vector<std::string>(5, mnt("f")));
  expect_all_records(read_file(mnt("f")), 5);
  expect_all_records(read_file(source("f")), 5);
}

TEST_F(AppendTest, WritersOnBothSidesOfTheMountLoseNothing) {
  PFS_NEEDS_HANDLES();  // without an open the kernel's pages are looked at only when attributes are
  write_file(mnt("f"), "");
  append_in_parallel({mnt("f"), source("f"), mnt("f"), source("f")});
  expect_all_records(read_file(source("f")), 4);
  // The mount may take its time to see what happened behind it, but no more than that.
  EXPECT_TRUE(wait_until([&] { return read_file(mnt("f")) == read_file(source("f")); }));
}

TEST_F(AppendTest, TurnsOnBothSidesGoToTheCommonEnd) {
  write_file(mnt("f"), "start");
  const UniqueFd inside(open(mnt("f").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  const UniqueFd outside(open(source("f").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  std::string expected = "start";
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(write(inside.get(), "inside", 6), 6);
    ASSERT_EQ(write(outside.get(), "OUT", 3), 3);
    expected += "insideOUT";
  }
  EXPECT_EQ(read_file(source("f")), expected);
}

TEST_F(AppendTest, TwoHandlesTakeTurns) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "start");
    const UniqueFd one(open((dir + "/f").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    const UniqueFd two(open((dir + "/f").c_str(), O_RDWR | O_APPEND | O_CLOEXEC));
    for (int i = 0; i < 5; ++i) {
      t.num("one", write(one.get(), "one", 3));
      t.num("position", lseek(one.get(), 0, SEEK_CUR));
      t.num("two", write(two.get(), "TWO!", 4));
      t.num("position", lseek(two.get(), 0, SEEK_CUR));
      t.num("size", lseek(one.get(), 0, SEEK_END));
    }
    t.content("content", dir + "/f");
  });
}

TEST_F(AppendTest, AppendsGoToTheNewEndAfterTruncation) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "0123456789");
    const UniqueFd appender(open((dir + "/f").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    const UniqueFd other(open((dir + "/f").c_str(), O_RDWR | O_CLOEXEC));
    t.num("write", write(appender.get(), "ab", 2));
    t.num("ftruncate", ftruncate(other.get(), 3));
    t.num("write", write(appender.get(), "cd", 2));
    t.num("ftruncate", ftruncate(appender.get(), 7));
    t.num("write", write(appender.get(), "ef", 2));
    t.content("content", dir + "/f");
  });
}

TEST_F(AppendTest, CreatedHandleAppends) {
  same([](Trace& t, const std::string& dir) {
    const UniqueFd fd(
        open((dir + "/f").c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644));
    t.num("write", write(fd.get(), "0123456789", 10));
    t.num("seek", lseek(fd.get(), 0, SEEK_SET));
    t.num("write", write(fd.get(), "0123456789", 10));
    t.num("pwrite", pwrite(fd.get(), "0123456789", 10, 0));
    t.content("content", dir + "/f");
  });
}

TEST_F(AppendTest, ClearingTheFlagWritesWhereTold) {
  PFS_NEEDS_DAEMON_IO();
  const Trace native = same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "0123456789");
    const UniqueFd fd(open((dir + "/f").c_str(), O_RDWR | O_APPEND | O_CLOEXEC));
    t.num("append", write(fd.get(), "ab", 2));
    t.num("clear", fcntl(fd.get(), F_SETFL, 0));
    t.num("pwrite", pwrite(fd.get(), "XY", 2, 0));
    t.num("seek", lseek(fd.get(), 4, SEEK_SET));
    t.num("write", write(fd.get(), "Z", 1));
    t.content("content", dir + "/f");
  });
  EXPECT_EQ(native.count("content", "XY23Z56789ab"), 1);
}

TEST_F(AppendTest, SettingTheFlagLaterAppends) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "0123456789");
    const UniqueFd fd(open((dir + "/f").c_str(), O_RDWR | O_CLOEXEC));
    t.num("pwrite", pwrite(fd.get(), "XY", 2, 0));
    t.num("set", fcntl(fd.get(), F_SETFL, O_APPEND));
    t.num("write", write(fd.get(), "ab", 2));
    t.num("pwrite", pwrite(fd.get(), "cd", 2, 0));
    t.content("content", dir + "/f");
    t.num("clear", fcntl(fd.get(), F_SETFL, 0));
    t.num("pwrite", pwrite(fd.get(), "!", 1, 4));
    t.content("content", dir + "/f");
  });
  EXPECT_EQ(native.count("content", "XY23!56789abcd"), 1);
}

TEST_F(AppendTest, SettingTheFlagLaterMeetsAnOutsideAppender) {
  write_file(mnt("f"), "0123456789");
  const UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(fcntl(fd.get(), F_SETFL, O_APPEND), 0);
  const UniqueFd outside(open(source("f").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  ASSERT_EQ(write(outside.get(), "OUT", 3), 3);
  ASSERT_EQ(write(fd.get(), "in", 2), 2);
  EXPECT_EQ(read_file(source("f")), "0123456789OUTin");
}

TEST_F(AppendTest, FlagIsSharedByDuplicatesAndNotByOtherOpens) {
  PFS_NEEDS_DAEMON_IO();
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "0123456789");
    const UniqueFd one(open((dir + "/f").c_str(), O_RDWR | O_APPEND | O_CLOEXEC));
    const UniqueFd copy(fcntl(one.get(), F_DUPFD_CLOEXEC, 0));
    const UniqueFd other(open((dir + "/f").c_str(), O_RDWR | O_CLOEXEC));
    t.num("append", write(copy.get(), "ab", 2));
    t.num("overwrite", write(other.get(), "XY", 2));
    t.num("clear", fcntl(copy.get(), F_SETFL, 0));
    t.num("write", pwrite(one.get(), "Z", 1, 5));
    t.content("content", dir + "/f");
  });
}

// Pitfall 18: a page that is written back must land where it belongs, not at the end.
TEST_F(AppendTest, MappedPagesOfAnAppendHandleAreNotAppended) {
  for (const std::size_t size : {std::size_t{100}, std::size_t{4096}, std::size_t{10000}}) {
    SCOPED_TRACE(size);
    const std::string name = "f" + std::to_string(size);
    write_file(mnt(name), std::string(size, '.'));
    const UniqueFd fd(open(mnt(name).c_str(), O_RDWR | O_APPEND | O_CLOEXEC));
    void* map = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    ASSERT_NE(map, MAP_FAILED);
    static_cast<char*>(map)[0] = 'A';
    static_cast<char*>(map)[size - 1] = 'Z';
    ASSERT_EQ(msync(map, size, MS_SYNC), 0);
    static_cast<char*>(map)[1] = 'B';
    ASSERT_EQ(munmap(map, size), 0);
    ASSERT_EQ(fsync(fd.get()), 0);
    ASSERT_EQ(write(fd.get(), "end", 3), 3);
    std::string expected = std::string(size, '.') + "end";
    expected[0] = 'A';
    expected[1] = 'B';
    expected[size - 1] = 'Z';
    EXPECT_TRUE(read_file(mnt(name)) == expected);
    EXPECT_TRUE(read_file(source(name)) == expected);
  }
}

TEST_F(AppendTest, MappedPagesOfAHandleThatBecameAppendAreNotAppended) {
  write_file(mnt("f"), std::string(100, '.'));
  const UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CLOEXEC));
  void* map = mmap(nullptr, 100, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  ASSERT_EQ(fcntl(fd.get(), F_SETFL, O_APPEND), 0);
  static_cast<char*>(map)[0] = 'A';
  ASSERT_EQ(msync(map, 100, MS_SYNC), 0);
  ASSERT_EQ(munmap(map, 100), 0);
  EXPECT_EQ(read_file(source("f")), "A" + std::string(99, '.'));
}

// Pitfall 16: nothing may want to read the rest of the page through a handle that cannot read.
TEST_F(AppendTest, WriteOnlyHandleWritesPartsOfPages) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", std::string(5000, '.'));
    const UniqueFd fd(open((dir + "/f").c_str(), O_WRONLY | O_CLOEXEC));
    t.num("inside", pwrite(fd.get(), "abc", 3, 10));
    t.num("across", pwrite(fd.get(), "def", 3, 4095));
    t.num("over the end", pwrite(fd.get(), "ghi", 3, 4999));
    t.num("after a hole", pwrite(fd.get(), "jkl", 3, 9000));
    const UniqueFd appender(open((dir + "/f").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    t.num("append", write(appender.get(), "mno", 3));
    t.num("append", write(appender.get(), "pqr", 3));
    t.content("content", dir + "/f");
  });
}

TEST_F(AppendTest, VectorsAndAppendPerCall) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", "0123456789");
    const UniqueFd fd(open((dir + "/f").c_str(), O_RDWR | O_CLOEXEC));
    std::array<char, 4> one{'a', 'b', 'c', 'd'};
    std::array<char, 3> two{'X', 'Y', 'Z'};
    const std::array<iovec, 2> parts{iovec{one.data(), one.size()}, iovec{two.data(), two.size()}};
    t.num("RWF_APPEND", pwritev2(fd.get(), parts.data(), 2, 0, RWF_APPEND));
    t.num("writev", pwritev(fd.get(), parts.data(), 2, 1));
    const UniqueFd appender(open((dir + "/f").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    t.num("append writev", writev(appender.get(), parts.data(), 2));
    t.content("content", dir + "/f");
  });
}

TEST_F(AppendTest, ManySmallAppendsStayInOrder) {
  std::string expected;
  const UniqueFd fd(
      open(mnt("f").c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644));
  for (int i = 0; i < 10000; ++i) {
    std::string four = std::to_string(10000 + i).substr(1);
    ASSERT_EQ(write(fd.get(), four.data(), 4), 4);
    expected += four;
  }
  EXPECT_TRUE(read_file(source("f")) == expected);
  EXPECT_TRUE(read_file(mnt("f")) == expected);
}

TEST_F(AppendTest, LargeAppendLosesNothing) {
  // More than one request's worth of data, while somebody else appends too: each request may be a
  // stretch of its own, as each is one write on the source, but no byte is lost.
  write_file(mnt("f"), "");
  const std::string big(3 << 20, 'B');
  Child other([&] {
    const UniqueFd fd(open(mnt("f").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    for (int i = 0; i < 200; ++i) {
      ASSERT_EQ(write(fd.get(), "s", 1), 1);
    }
  });
  const UniqueFd fd(open(mnt("f").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  ASSERT_EQ(write(fd.get(), big.data(), big.size()), static_cast<ssize_t>(big.size()));
  ASSERT_TRUE(other.join());
  const std::string content = read_file(source("f"));
  EXPECT_EQ(content.size(), big.size() + 200);
  EXPECT_EQ(std::count(content.begin(), content.end(), 's'), 200);
}

TEST_F(AppendTest, PartsOfALongDirectAppendStayInOrder) {
  // Past the page cache the kernel sends all the requests of one write at once; the last one, the
  // smallest, must not be served first.
  constexpr std::size_t kBlock = 4096;
  constexpr std::size_t kBlocks = 513;  // two of the largest requests, and a block
  const std::unique_ptr<char, decltype(&std::free)> data(
      static_cast<char*>(std::aligned_alloc(kBlock, kBlocks * kBlock)), &std::free);
  for (std::size_t i = 0; i < kBlocks; ++i) {
    std::memset(data.get() + i * kBlock, static_cast<int>('a' + i % 23), kBlock);
  }
  const std::string_view expected(data.get(), kBlocks * kBlock);
  const UniqueFd fd(
      open(mnt("f").c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_DIRECT | O_CLOEXEC, 0644));
  if (!fd.valid()) GTEST_SKIP() << "no O_DIRECT here";
  for (int round = 0; round < 30; ++round) {
    ASSERT_EQ(ftruncate(fd.get(), 0), 0);
    ASSERT_EQ(write(fd.get(), expected.data(), expected.size()),
              static_cast<ssize_t>(expected.size()));
    ASSERT_TRUE(read_file(source("f")) == expected) << "round " << round;
  }
}

TEST_F(AppendTest, DirectAppendToAFileThatWasCutBehindTheMount) {
  // The kernel still believes in the old size; nobody is waited for in vain for long.
  constexpr std::size_t kBlock = 4096;
  const std::unique_ptr<char, decltype(&std::free)> data(
      static_cast<char*>(std::aligned_alloc(kBlock, kBlock)), &std::free);
  std::memset(data.get(), 'x', kBlock);
  const UniqueFd fd(
      open(mnt("f").c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_DIRECT | O_CLOEXEC, 0644));
  if (!fd.valid()) GTEST_SKIP() << "no O_DIRECT here";
  ASSERT_EQ(write(fd.get(), data.get(), kBlock), static_cast<ssize_t>(kBlock));
  ASSERT_EQ(truncate(source("f").c_str(), 0), 0);
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(write(fd.get(), data.get(), kBlock), static_cast<ssize_t>(kBlock));
  }
  EXPECT_TRUE(read_file(source("f")) == std::string(20 * kBlock, 'x'));
}

}  // namespace
}  // namespace passthroughfs::test
