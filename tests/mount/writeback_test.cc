// SPDX-License-Identifier: Apache-2.0
//
// The writeback cache: the kernel gathers what is written and sends it when it sees fit, at the
// latest when a file is synchronised or closed. What that must not break, for each transport.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/json.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

class WritebackTest : public MountTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
    MountTest::SetUp();
  }
  MountSettings settings() const override { return {.options = options()}; }
  static std::vector<std::string> options() {
    return {std::string("transport=") + GetParam(), "cache=forever", "handles=table", "io=auto",
            "writeback"};
  }
};

INSTANTIATE_TEST_SUITE_P(Transports, WritebackTest, ::testing::Values("dev", "uring"),
                         [](const auto& transport) { return std::string(transport.param); });

TEST_P(WritebackTest, SmallWritesTravelTogetherAndAreThereAfterClose) {
  constexpr int kWrites = 1000;
  std::string expected;
  {
    const UniqueFd fd(open(mnt("f").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    for (int i = 0; i < kWrites; ++i) {
      const std::string line = std::to_string(i) + "\n";
      expected += line;
      ASSERT_EQ(write(fd.get(), line.data(), line.size()), static_cast<ssize_t>(line.size()));
    }
    struct stat st {};
    ASSERT_EQ(stat(mnt("f").c_str(), &st), 0);
    EXPECT_EQ(st.st_size, static_cast<off_t>(expected.size())) << "before anything is sent";
    EXPECT_EQ(read_file(mnt("f")), expected);
  }
  EXPECT_EQ(read_file(source("f")), expected);
  EXPECT_LT(mount().requests("WRITE"), static_cast<std::uint64_t>(kWrites / 10));
}

TEST_P(WritebackTest, FsyncBringsAllToTheSource) {
  const UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_EQ(write(fd.get(), "content", 7), 7);
  ASSERT_EQ(fsync(fd.get()), 0);
  EXPECT_EQ(read_file(source("f")), "content");
}

TEST_P(WritebackTest, NothingIsLostByUnmounting) {
  auto own = std::make_unique<Mount>(MountSettings{.options = options()});
  ASSERT_TRUE(own->ok());
  const std::string content(3'000'001, 'x');
  const std::string at_source = own->source("f");
  {
    const UniqueFd fd(open(own->mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    void* map = nullptr;
    ASSERT_EQ(write(fd.get(), content.data(), content.size()),
              static_cast<ssize_t>(content.size()));
    map = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    ASSERT_NE(map, MAP_FAILED);
    static_cast<char*>(map)[7] = 'y';
    munmap(map, 4096);
  }
  own->stop();
  std::string expected = content;
  expected[7] = 'y';
  EXPECT_TRUE(read_file(at_source) == expected);
}

// The kernel sends positions with what it gathered; a descriptor that appends by itself would put
// every part at the end once more.
TEST_P(WritebackTest, AppendingInSmallPartsGivesWhatWasWritten) {
  same([](Trace& t, const std::string& dir) {
    const std::string path = dir + "/f";
    for (int round = 0; round < 3; ++round) {
      const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
      for (int i = 0; i < 2; ++i) {
        t.num("write", write(fd.get(), "0123456789", 10));
        t.num("fsync", fsync(fd.get()));
      }
    }
    t.content("content", path);
  });
  EXPECT_EQ(read_file(source("f")).size(), 60U);
}

TEST_P(WritebackTest, AppendersOfSeveralProcessesLoseNothing) {
  constexpr int kWriters = 4, kLines = 500;
  {
    std::vector<std::unique_ptr<Child>> writers;
    for (int w = 0; w < kWriters; ++w) {
      writers.push_back(std::make_unique<Child>([&, w] {
        const UniqueFd fd(open(mnt("f").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
        for (int i = 0; i < kLines; ++i) {
          const std::string line = std::string(1, static_cast<char>('a' + w)) + "123456\n";
          ASSERT_EQ(write(fd.get(), line.data(), line.size()), 8);
        }
      }));
    }
    for (const auto& writer : writers) ASSERT_TRUE(writer->join());
  }
  const std::string content = read_file(source("f"));
  ASSERT_EQ(content.size(), std::size_t{8} * kWriters * kLines);
  for (std::size_t at = 0; at < content.size(); at += 8) {
    ASSERT_EQ(content.substr(at + 1, 7), "123456\n") << "torn at " << at;
  }
}

TEST_P(WritebackTest, AMappedPageOfAnAppendHandleIsNotAppended) {
  same([](Trace& t, const std::string& dir) {
    const std::string path = dir + "/f";
    write_file(path, std::string(4096, 'a'));
    {
      const UniqueFd fd(open(path.c_str(), O_RDWR | O_APPEND | O_CLOEXEC));
      void* map = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
      ASSERT_NE(map, MAP_FAILED);
      static_cast<char*>(map)[100] = 'b';
      t.num("msync", msync(map, 4096, MS_SYNC));
      munmap(map, 4096);
    }
    t.content("content", path);
  });
  EXPECT_EQ(read_file(source("f")).size(), 4096U);
}

// The kernel reads the rest of a page through the only file that is open, which may not be read.
TEST_P(WritebackTest, AWriteOnlyFileTakesPartsOfPages) {
  same([](Trace& trace, const std::string& dir) {
    const std::string path = dir + "/f";
    ASSERT_EQ(chmod(dir.c_str(), 0777), 0);
    write_file(path, std::string(10000, '.'));
    ASSERT_EQ(chown(path.c_str(), kAlice.uid, kAlice.gid), 0);
    ASSERT_EQ(chmod(path.c_str(), 0222), 0);
    for (const Identity& who : {kAlice, kBob}) {
      run_as(who, trace, [&](Trace& t) {
        t.num("to read", try_open(path, O_RDONLY));
        const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
        t.num("pwrite", pwrite(fd.get(), "written", 7, 5000));
        char byte = 0;
        t.num("pread", pread(fd.get(), &byte, 1, 0));
      });
      const UniqueFd fresh(open((dir + "/own").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0200));
      trace.num("created", pwrite(fresh.get(), "x", 1, 1));
    }
    trace.content("content", path);
  });
}

// What two open files of one inode write through different ways must meet.
TEST_P(WritebackTest, DirectAndGatheredWritesMeet) {
  same([](Trace& t, const std::string& dir) {
    const std::string path = dir + "/f";
    const UniqueFd gathered(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    const UniqueFd direct(open(path.c_str(), O_RDWR | O_APPEND | O_DIRECT | O_CLOEXEC));
    if (!direct.valid()) GTEST_SKIP() << "no O_DIRECT here";
    alignas(4096) static char block[4096];
    for (int i = 0; i < 5; ++i) {
      t.num("gathered", pwrite(gathered.get(), std::string(4096, 'g').data(), 4096, i * 8192));
      std::fill(std::begin(block), std::end(block), static_cast<char>('0' + i));
      t.num("direct", write(direct.get(), block, sizeof block));
    }
    t.content("content", path);
  });
}

TEST_P(WritebackTest, TimesAreTheSourcesAfterClose) {
  {
    const UniqueFd fd(open(mnt("f").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    ASSERT_EQ(write(fd.get(), "x", 1), 1);
  }
  struct stat mounted {
  }, real{};
  ASSERT_EQ(stat(mnt("f").c_str(), &mounted), 0);
  ASSERT_EQ(stat(source("f").c_str(), &real), 0);
  EXPECT_EQ(mounted.st_mtim.tv_sec, real.st_mtim.tv_sec);
  EXPECT_EQ(mounted.st_mtim.tv_nsec, real.st_mtim.tv_nsec);
}

// The kernel sends the time in numbers, which only an owner may set natively.
TEST_P(WritebackTest, AWriterWhoIsNotTheOwnerMayTouch) {
  same([](Trace& trace, const std::string& dir) {
    const std::string path = dir + "/f";
    write_file(path, "x");
    ASSERT_EQ(chown(path.c_str(), kAlice.uid, kAlice.gid), 0);
    ASSERT_EQ(chmod(path.c_str(), 0666), 0);
    run_as(kBob, trace, [&](Trace& t) {
      t.num("now", utimensat(AT_FDCWD, path.c_str(), nullptr, 0));
      const timespec other[2] = {{1, 0}, {1, 0}};
      t.num("other", utimensat(AT_FDCWD, path.c_str(), other, 0));
      const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
      t.num("write", write(fd.get(), "y", 1));
      t.num("futimens", futimens(fd.get(), nullptr));
      t.num("fsync", fsync(fd.get()));
    });
  });
}

TEST_P(WritebackTest, WritingDropsSetIdBits) {
  same([](Trace& trace, const std::string& dir) {
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

// The kernel does not send what it gathered before it asks for holes.
TEST_P(WritebackTest, FreshDataIsNotTakenForAHole) {
  const UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_EQ(pwrite(fd.get(), "x", 1, 1 << 20), 1);
  const off_t data = lseek(fd.get(), 1 << 20, SEEK_DATA);
  EXPECT_EQ(data, 1 << 20);
}

TEST_P(WritebackTest, AFullDiskIsToldBySyncAndClose) {
  const TempTree tree;
  const std::string small = tree.make_dir("small");
  ASSERT_EQ(::mount("small", small.c_str(), "tmpfs", 0, "size=1m"), 0);
  Mount full({.options = options(), .source = small});
  ASSERT_TRUE(full.ok());
  const UniqueFd fd(open(full.mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  const std::string much(4 << 20, 'x');
  ASSERT_GT(write(fd.get(), much.data(), much.size()), 0);
  EXPECT_EQ(fsync(fd.get()), -1);
  EXPECT_EQ(errno_name(errno), "ENOSPC");
  ASSERT_EQ(ftruncate(fd.get(), 0), 0);
  ASSERT_EQ(pwrite(fd.get(), "fits", 4, 0), 4);
  EXPECT_EQ(fsync(fd.get()), 0);
  EXPECT_EQ(read_file(full.source("f")), "fits");
}

TEST_P(WritebackTest, StatsSayThatItIsOn) {
  const Json said = stats(mount());
  EXPECT_EQ(said.value("writeback", false), true);
  EXPECT_EQ(said.value("io", ""), "daemon");
}

}  // namespace
}  // namespace passthroughfs::test
