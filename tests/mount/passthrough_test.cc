// SPDX-License-Identifier: Apache-2.0
//
// Reads and writes in the kernel: that they are there, and what they must not break.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>

#include "base/fd.h"
#include "support/mount_fixture.h"
#include "support/small_source.h"
#include "support/wait_until.h"

namespace passthroughfs::test {
namespace {

class PassthroughTest : public MountTest {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
    MountTest::SetUp();
    const std::string stats = mount().command({"stats", mnt("")}).out;
    if (stats.find("io passthrough") == std::string::npos) {
      GTEST_SKIP() << "not in passthrough: " << stats.substr(0, stats.find("\n\n"));
    }
  }
  MountSettings settings() const override {
    MountSettings out;
    out.options = {"io=passthrough"};
    return out;
  }
  UniqueFd open_file(const std::string& name, int flags) {
    return UniqueFd(open(mnt(name).c_str(), flags | O_CLOEXEC, 0644));
  }
  static std::int64_t mtime(const std::string& path) {
    struct stat st {};
    EXPECT_EQ(stat(path.c_str(), &st), 0);
    return st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec;
  }
};

TEST_F(PassthroughTest, DataDoesNotReachTheDaemon) {
  const UniqueFd fd = open_file("f", O_RDWR | O_CREAT);
  std::array<char, 4096> page{};
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(pwrite(fd.get(), page.data(), page.size(), i * 4096), 4096);
    ASSERT_EQ(pread(fd.get(), page.data(), page.size(), i * 4096), 4096);
  }
  const std::string stats = mount().command({"stats", mnt("")}).out;
  EXPECT_EQ(stats.find("\nREAD "), std::string::npos) << stats;
  EXPECT_EQ(stats.find("\nWRITE "), std::string::npos) << stats;
}

TEST_F(PassthroughTest, HandlesSayHowTheirDataGoes) {
  const UniqueFd fd = open_file("f", O_RDWR | O_CREAT);
  EXPECT_NE(mount().command({"handles", mnt(""), "--json"}).out.find("\"passthrough\""),
            std::string::npos);
}

// A store through a mapping is seen by no one, so the times must never be taken from a cache.
TEST_F(PassthroughTest, StoresMoveTheTimesAtOnceAlsoAfterClose) {
  UniqueFd fd = open_file("f", O_RDWR | O_CREAT);
  ASSERT_EQ(ftruncate(fd.get(), 8192), 0);
  void* map = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  char* bytes = static_cast<char*>(map);
  std::int64_t before = mtime(mnt("f"));
  // The first store into a page is what counts; each has a page of its own.
  next_timestamp();
  bytes[0] = 'a';
  EXPECT_NE(mtime(mnt("f")), before);
  EXPECT_EQ(mtime(mnt("f")), mtime(source("f")));
  fd.reset();
  before = mtime(mnt("f"));
  next_timestamp();
  bytes[4096] = 'b';
  EXPECT_NE(mtime(mnt("f")), before);
  EXPECT_EQ(mtime(mnt("f")), mtime(source("f")));
  munmap(map, 8192);
}

// The kernel answers EIO to a mixture of modes on one inode.
TEST_F(PassthroughTest, AllKindsOfOpenLiveSideBySide) {
  write_file(source("f"), std::string(4096, 'x'));
  const UniqueFd reader = open_file("f", O_RDONLY);
  const UniqueFd writer = open_file("f", O_WRONLY);
  const UniqueFd both = open_file("f", O_RDWR);
  const UniqueFd appender = open_file("f", O_WRONLY | O_APPEND);
  const UniqueFd truncating = open_file("f", O_RDWR | O_TRUNC);
  for (const UniqueFd* fd : {&reader, &writer, &both, &appender, &truncating}) {
    ASSERT_TRUE(fd->valid());
  }
  ASSERT_EQ(write(writer.get(), "ab", 2), 2);
  ASSERT_EQ(write(appender.get(), "cd", 2), 2);
  ASSERT_EQ(pwrite(both.get(), "X", 1, 1), 1);
  std::array<char, 8> got{};
  EXPECT_EQ(read(reader.get(), got.data(), got.size()), 4);
  EXPECT_STREQ(got.data(), "aXcd");
}

// What a handle without a descriptor of its own needs one for.
TEST_F(PassthroughTest, ReadOnlyHandleServesWhatNeedsADescriptor) {
  write_file(source("f"), std::string(100'000, 'x'));
  const UniqueFd fd = open_file("f", O_RDONLY);
  ASSERT_EQ(unlink(mnt("f").c_str()), 0);
  EXPECT_EQ(fsync(fd.get()), 0);
  EXPECT_EQ(lseek(fd.get(), 0, SEEK_HOLE), 100'000);
  EXPECT_EQ(fchmod(fd.get(), 0600), 0);
  struct flock lock {};
  lock.l_type = F_RDLCK;
  EXPECT_EQ(fcntl(fd.get(), F_SETLK, &lock), 0);
  EXPECT_EQ(posix_fadvise(fd.get(), 0, 0, POSIX_FADV_WILLNEED), 0);
}

TEST_F(PassthroughTest, BlocksOfARemovedFileAreFreed) {
  const SmallSource small("size=64m");  // elsewhere others take and free blocks meanwhile
  Mount own({.options = settings().options, .source = small.path()});
  ASSERT_TRUE(own.ok());
  const auto free_blocks = [&] {
    struct statfs fs {};
    EXPECT_EQ(statfs(small.path().c_str(), &fs), 0);
    return fs.f_bfree;
  };
  const std::string content(20U << 20, 'x');
  const auto before = free_blocks();
  {
    const UniqueFd named(open(own.mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    ASSERT_EQ(write(named.get(), content.data(), content.size()),
              static_cast<ssize_t>(content.size()));
    ASSERT_EQ(unlink(own.mnt("f").c_str()), 0);
    const UniqueFd nameless(open(own.mnt("").c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0644));
    ASSERT_EQ(write(nameless.get(), content.data(), content.size()),
              static_cast<ssize_t>(content.size()));
    EXPECT_LE(free_blocks() + (40U << 20) / 4096, before);
  }
  EXPECT_TRUE(wait_until([&] { return free_blocks() == before; }))
      << free_blocks() << " of " << before;
}

}  // namespace
}  // namespace passthroughfs::test
