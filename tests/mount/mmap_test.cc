// SPDX-License-Identifier: Apache-2.0
//
// Mapped files: shared between processes, and coherent with read and write.
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

class MmapTest : public MountTest {};

// A mapping of `size` bytes of a file from its start; null when the kernel refuses.
class Mapping {
 public:
  Mapping(int fd, std::size_t size, int protection = PROT_READ | PROT_WRITE, int flags = MAP_SHARED)
      : size_(size), start_(mmap(nullptr, size, protection, flags, fd, 0)) {}
  ~Mapping() {
    if (valid()) munmap(start_, size_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  bool valid() const { return start_ != MAP_FAILED; }
  char* data() const { return static_cast<char*>(start_); }
  int sync(int flags = MS_SYNC) const { return msync(start_, size_, flags); }

 private:
  std::size_t size_;
  void* start_;
};

UniqueFd open_file(const std::string& path, int flags) {
  return UniqueFd(open(path.c_str(), flags | O_CLOEXEC, 0644));
}

TEST_F(MmapTest, TwoProcessesShareAMapping) {
  write_file(mnt("f"), std::string(8192, '.'));
  const UniqueFd fd = open_file(mnt("f"), O_RDWR);
  const Mapping map(fd.get(), 8192);
  ASSERT_TRUE(map.valid());
  const Gate ready;
  const Gate seen;
  Child other([&] {
    const UniqueFd own = open_file(mnt("f"), O_RDWR);
    const Mapping mine(own.get(), 8192);
    ASSERT_TRUE(mine.valid());
    ASSERT_TRUE(ready.wait());
    EXPECT_EQ(mine.data()[5000], 'A');
    mine.data()[100] = 'B';
    seen.pass();
  });
  map.data()[5000] = 'A';
  ready.pass();
  ASSERT_TRUE(seen.wait());
  EXPECT_EQ(map.data()[100], 'B');
  EXPECT_TRUE(other.join());
  ASSERT_EQ(map.sync(), 0);
  const std::string content = read_file(source("f"));
  EXPECT_EQ(content[5000], 'A');
  EXPECT_EQ(content[100], 'B');
}

TEST_F(MmapTest, MappingAndCallsSeeOneAnother) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", std::string(6000, '.'));
    const UniqueFd fd = open_file(dir + "/f", O_RDWR);
    const UniqueFd other = open_file(dir + "/f", O_RDWR);
    const Mapping map(fd.get(), 8192);
    ASSERT_TRUE(map.valid());
    auto bytes = [&](int from, off_t at) {
      char buffer[6] = {};
      t.num("pread", pread(from, buffer, 5, at));
      t.note("sees", buffer);
    };
    map.data()[10] = 'm';
    bytes(fd.get(), 8);
    bytes(other.get(), 8);
    t.num("pwrite", pwrite(other.get(), "wr", 2, 11));
    t.note("mapping", std::string_view(map.data() + 9, 5));
    map.data()[4097] = 'M';
    t.num("pwrite", pwrite(fd.get(), "W", 1, 4098));
    bytes(other.get(), 4096);
    t.num("ftruncate", ftruncate(other.get(), 20));
    t.num("ftruncate", ftruncate(other.get(), 8192));
    t.note("cut off", map.data()[4097] == '\0' && map.data()[21] == '\0');
    t.note("kept", std::string_view(map.data() + 9, 5));
    t.num("punch", fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
    t.note("punched", map.data()[10] == '\0');
    t.num("msync", map.sync());
    t.content("content", dir + "/f");
  });
}

TEST_F(MmapTest, PrivateMappingsKeepTheirStores) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", std::string(100, '.'));
    const UniqueFd fd = open_file(dir + "/f", O_RDONLY);
    const Mapping map(fd.get(), 100, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    t.note("allowed", map.valid());
    ASSERT_TRUE(map.valid());
    map.data()[0] = 'x';
    t.num("msync", map.sync());
    t.content("content", dir + "/f");
  });
}

TEST_F(MmapTest, ProtectionFollowsTheOpenMode) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", std::string(100, '.'));
    for (const int mode : {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_APPEND}) {
      const UniqueFd fd = open_file(dir + "/f", mode);
      for (const int flags : {MAP_SHARED, MAP_PRIVATE}) {
        for (const int protection :
             {PROT_READ, PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC}) {
          errno = 0;
          const Mapping map(fd.get(), 100, protection, flags);
          t.note("mmap", map.valid() ? "ok" : errno_name(errno));
        }
      }
    }
    const UniqueFd directory = open_file(dir, O_RDONLY | O_DIRECTORY);
    const Mapping map(directory.get(), 100, PROT_READ);
    t.note("directory", map.valid() ? "ok" : errno_name(errno));
  });
}

TEST_F(MmapTest, MappingOutlivesCloseAndUnlink) {
  write_file(mnt("f"), std::string(8192, '.'));
  ASSERT_EQ(link(mnt("f").c_str(), mnt("g").c_str()), 0);
  UniqueFd fd = open_file(mnt("f"), O_RDWR);
  const Mapping map(fd.get(), 8192);
  ASSERT_TRUE(map.valid());
  fd.reset();
  map.data()[0] = 'A';
  ASSERT_EQ(unlink(mnt("f").c_str()), 0);
  map.data()[4096] = 'B';
  ASSERT_EQ(map.sync(), 0);
  EXPECT_EQ(read_file(source("g"))[0], 'A');
  EXPECT_EQ(read_file(source("g"))[4096], 'B');
  EXPECT_EQ(read_file(mnt("g"))[4096], 'B');
}

TEST_F(MmapTest, UnmappedPagesReachTheSource) {
  write_file(mnt("f"), std::string(1 << 20, '.'));
  {
    UniqueFd fd = open_file(mnt("f"), O_RDWR);
    const Mapping map(fd.get(), 1 << 20);
    ASSERT_TRUE(map.valid());
    fd.reset();
    for (std::size_t i = 0; i < 1 << 20; i += 4096) {
      map.data()[i] = 'x';
    }
  }
  const std::string content = read_file(source("f"));
  EXPECT_EQ(std::count(content.begin(), content.end(), 'x'), 256);
}

TEST_F(MmapTest, CacheIsDroppedWhenTheSourceChanges) {
  PFS_NEEDS_A_SHARED_SOURCE();
  write_file(mnt("f"), std::string(4096, 'a'));
  const UniqueFd fd = open_file(mnt("f"), O_RDONLY);
  {
    const Mapping map(fd.get(), 4096, PROT_READ);
    ASSERT_EQ(map.data()[0], 'a');
  }
  next_timestamp();
  write_file(source("f"), std::string(4096, 'b'));
  EXPECT_TRUE(wait_until([&] {
    const UniqueFd fresh = open_file(mnt("f"), O_RDONLY);
    const Mapping map(fresh.get(), 4096, PROT_READ);
    return map.valid() && map.data()[0] == 'b';
  }));
}

TEST_F(MmapTest, WhatARefusedWriteBroughtIsNotMapped) {
  PFS_NEEDS_ROOT();
  const std::string content(4096, 'a');
  write_file(mnt("f"), content);
  const UniqueFd fd = open_file(mnt("f"), O_RDWR);
  const Mapping map(fd.get(), 4096, PROT_READ);
  ASSERT_TRUE(map.valid());
  ASSERT_EQ(map.data()[0], 'a');
  int flags = 0;
  if (ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) != 0) GTEST_SKIP() << "no inode flags here";
  for (const int lock : {FS_IMMUTABLE_FL, FS_APPEND_FL}) {
    int locked = flags | lock;
    ASSERT_EQ(ioctl(fd.get(), FS_IOC_SETFLAGS, &locked), 0);
    if (lock == FS_IMMUTABLE_FL) {
      EXPECT_EQ(pwrite(fd.get(), "new", 3, 10), -1);
      EXPECT_EQ(errno, EPERM);
    } else {  // natively it can still be written: it was opened before
      (void)pwrite(fd.get(), "new", 3, 10);
    }
    EXPECT_TRUE(wait_until([&] {
      return std::memcmp(map.data(), read_file(source("f")).data(), content.size()) == 0;
    }));
    ASSERT_EQ(ioctl(fd.get(), FS_IOC_SETFLAGS, &flags), 0);
  }
}

TEST_F(MmapTest, AccessBeyondTheEndIsASignal) {
  same([](Trace& t, const std::string& dir) {
    write_file(dir + "/f", std::string(100, '.'));
    const UniqueFd fd = open_file(dir + "/f", O_RDWR);
    for (const std::size_t at : {std::size_t{0}, std::size_t{4095}, std::size_t{4096}}) {
      const pid_t pid = fork();
      if (pid == 0) {
        signal(SIGBUS, SIG_DFL);
        const Mapping map(fd.get(), 8192);
        volatile char* byte = map.data() + at;
        *byte = 'x';
        _exit(0);
      }
      int status = 0;
      ASSERT_EQ(waitpid(pid, &status, 0), pid);
      t.note("access", WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "fine");
    }
    t.content("content", dir + "/f");
  });
}

TEST_F(MmapTest, WritingFromAMappingOfTheSameFile) {
  // The page that is written from may have to be read for it: a classic deadlock.
  write_file(mnt("f"), std::string(65536, 'a'));
  const UniqueFd fd = open_file(mnt("f"), O_RDWR);
  const Mapping map(fd.get(), 65536);
  ASSERT_TRUE(map.valid());
  ASSERT_EQ(posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  EXPECT_EQ(pwrite(fd.get(), map.data(), 32768, 16384), 32768);
  EXPECT_EQ(pread(fd.get(), map.data(), 32768, 16384), 32768);
  EXPECT_TRUE(read_file(mnt("f")) == std::string(65536, 'a'));
}

}  // namespace
}  // namespace passthroughfs::test
