// SPDX-License-Identifier: Apache-2.0
//
// A tree with many more files than the daemon may have descriptors, and what they cost in memory.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/json.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

constexpr int kDirectories = 300;
constexpr int kFiles = 1000;  // in each
constexpr rlim_t kDescriptors = 4096;

mode_t mode_of(int directory, int file) {
  return 0400U | (static_cast<mode_t>(directory + file) & 0377U);
}

// `work(directory)` for each directory, in two threads.
template <typename Work>
void for_each_directory(const Work& work) {
  std::atomic<int> next = 0;
  const auto run = [&] {
    for (int d = 0; (d = next++) < kDirectories;) work(d);
  };
  std::thread other(run);
  run();
  other.join();
}

std::string directory_name(int d) { return "d" + std::to_string(d); }

// The memory that is the daemon's own: heap and stacks, and the tables' shared region.
long own_memory(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  long kilobytes = 0;
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("RssAnon:", 0) == 0 || line.rfind("RssShmem:", 0) == 0) {
      kilobytes += std::stol(line.substr(line.find(':') + 1));
    }
  }
  return kilobytes * 1024;
}

// The hard and soft limit as /proc says: "4096 4096".
std::string descriptor_limits(pid_t pid) {
  std::ifstream limits("/proc/" + std::to_string(pid) + "/limits");
  for (std::string line; std::getline(limits, line);) {
    std::istringstream fields(line);
    std::string max, open, files, soft, hard;
    fields >> max >> open >> files >> soft >> hard;
    if (open == "open" && files == "files") return soft + " " + hard;
  }
  return "?";
}

class ManyFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
    struct sysinfo info {};
    if (sysinfo(&info) != 0 || info.freeram * info.mem_unit < (3UL << 29)) {
      GTEST_SKIP() << "needs 1.5 GB of free memory, for the kernel's inodes";
    }
    inodes_.resize(static_cast<std::size_t>(kDirectories) * kFiles);
    source_ = tree_.make_dir("source");
    std::atomic<int> failures = 0;
    for_each_directory([&](int d) {
      const UniqueFd dir(
          open(make_dir(source_ + "/" + directory_name(d)).c_str(), O_DIRECTORY | O_CLOEXEC));
      for (int f = 0; f < kFiles; ++f) {
        const std::string name = std::to_string(f);
        struct stat st {};
        if (mknodat(dir.get(), name.c_str(), S_IFREG | 0600, 0) != 0 ||
            fchmodat(dir.get(), name.c_str(), mode_of(d, f), 0) != 0 ||
            fstatat(dir.get(), name.c_str(), &st, 0) != 0) {
          ++failures;
        }
        inode(d, f) = st.st_ino;
      }
    });
    ASSERT_EQ(failures, 0) << errno_name(errno);
  }

  ino_t& inode(int d, int f) {
    return inodes_[static_cast<std::size_t>(d) * kFiles + static_cast<std::size_t>(f)];
  }

  // Lists every directory and asks for every file; returns how many are what they should be.
  int walk(const Mount& mount, std::atomic<std::size_t>& most_descriptors) {
    std::atomic<int> good = 0;
    for_each_directory([&](int d) {
      DIR* dir = opendir(mount.mnt(directory_name(d)).c_str());
      if (dir == nullptr) return;
      int here = 0;
      while (const dirent* entry = readdir(dir)) {
        if (entry->d_name[0] == '.') continue;
        const int f = std::atoi(entry->d_name);
        struct stat st {};
        if (f < kFiles && fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            st.st_mode == (S_IFREG | mode_of(d, f)) && st.st_ino == inode(d, f) &&
            entry->d_ino == inode(d, f) && entry->d_type == DT_REG && st.st_nlink == 1) {
          ++here;
        }
      }
      closedir(dir);
      good += here;
      const std::size_t now = mount.descriptors();
      std::size_t most = most_descriptors;
      while (most < now && !most_descriptors.compare_exchange_weak(most, now)) {
      }
    });
    return good;
  }

  TempTree tree_{TempTree::Medium::kMemory};
  std::string source_;
  std::vector<ino_t> inodes_;
};

TEST_F(ManyFilesTest, WalkOf300000FilesWithALimitOf4096Descriptors) {
  constexpr int kAll = kDirectories * kFiles;
  Mount mount({.source = source_, .descriptors = kDescriptors});
  ASSERT_TRUE(mount.ok());
  ASSERT_EQ(descriptor_limits(mount.pid()), "4096 4096");
  std::atomic<std::size_t> most = 0;
  const long before = own_memory(mount.server_pid());
  EXPECT_EQ(walk(mount, most), kAll);
  const Json first = stats(mount);
  ASSERT_TRUE(first.is_object());
  const long grown = own_memory(mount.server_pid()) - before;
  const auto known = first.value("inodes", 0L);
  ASSERT_GT(known, kAll / 2) << "the kernel has dropped what it has just looked at";
  const double bytes = static_cast<double>(grown) / static_cast<double>(known);
  RecordProperty("bytes_per_known_inode", std::to_string(bytes));
  printf("%ld inodes known; the daemon has grown by %.1f bytes for each\n", known, bytes);
  // A sanitizer keeps memory of its own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(bytes, 200.0);
#endif

  EXPECT_EQ(walk(mount, most), kAll) << "the second time";
  const Json second = stats(mount);
  ASSERT_TRUE(second.is_object());
  EXPECT_GT(second.value("evictions", 0L), kAll / 2);
  EXPECT_LT(most, kDescriptors);
  EXPECT_GT(most, kDescriptors / 2) << "descriptors are there to be used";
  EXPECT_EQ(second.value("descriptor_limit", 0UL), kDescriptors);
  EXPECT_LE(second.value("inode_descriptors", kDescriptors),
            second.value("descriptor_budget", rlim_t{0}));
  EXPECT_EQ(descriptor_limits(mount.pid()), "4096 4096");

  // And opens still have room.
  std::vector<UniqueFd> open_files;
  for (int f = 0; f < 500; ++f) {
    open_files.emplace_back(
        open(mount.mnt(directory_name(f % kDirectories) + "/" + std::to_string(f)).c_str(),
             O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(open_files.back().valid()) << f << ": " << errno_name(errno);
  }
}

}  // namespace
}  // namespace passthroughfs::test
