// SPDX-License-Identifier: Apache-2.0
//
// Large reads through the daemon, whose answers are the pages of the source, spliced.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

constexpr std::size_t kKiB = 1024;
constexpr std::size_t kMiB = 1024 * kKiB;

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string data(size, '\0');
  for (char& byte : data) byte = static_cast<char>(random());
  return data;
}

class LargeReadTest : public ::testing::TestWithParam<TempTree::Medium> {
 protected:
  void SetUp() override { mount_with({}); }

  void mount_with(MountSettings settings) {
    settings.options.insert(settings.options.end(), {"transport=dev", "io=daemon"});
    settings.medium = GetParam();
    mount_ = std::make_unique<Mount>(settings);
    ASSERT_TRUE(mount_->ok());
  }
  Mount& mount() { return *mount_; }

  UniqueFd open_through(const std::string& name) {
    return UniqueFd(open(mount().mnt(name).c_str(), O_RDONLY | O_CLOEXEC));
  }
  // From the daemon, whatever the kernel has of it.
  static std::string read_at(const UniqueFd& fd, std::size_t size, off_t offset) {
    (void)posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
    std::string out(size, '?');
    std::size_t done = 0;
    while (done < size) {
      const ssize_t got =
          pread(fd.get(), out.data() + done, size - done, offset + static_cast<off_t>(done));
      EXPECT_GE(got, 0) << strerror(errno);
      if (got <= 0) break;
      done += static_cast<std::size_t>(got);
    }
    out.resize(done);
    return out;
  }
  int pipes() {
    int count = 0;
    const std::string folder = "/proc/" + std::to_string(mount().pid()) + "/fd";
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      std::error_code gone;
      if (read_symlink(entry.path(), gone).string().starts_with("pipe:")) ++count;
    }
    return count;
  }

 private:
  std::unique_ptr<Mount> mount_;
};

TEST_P(LargeReadTest, ContentIsTheSameAroundEveryBorder) {
  const int before = native_run() ? 0 : pipes();
  unsigned seed = 1;
  for (const std::size_t base :
       {64 * kKiB, 68 * kKiB, 128 * kKiB, kMiB, kMiB + 4 * kKiB, 3 * kMiB}) {
    for (const std::size_t size : {base - 1, base, base + 1}) {
      const std::string data = noise(size, seed++);
      const std::string name = "f" + std::to_string(size);
      write_file(mount().source(name), data);
      const UniqueFd fd = open_through(name);
      EXPECT_TRUE(read_at(fd, size + kMiB, 0) == data) << size;
      for (const std::size_t at :
           {std::size_t{1}, std::size_t{4095}, std::size_t{4097}, size / 2}) {
        EXPECT_TRUE(read_at(fd, 2 * kMiB, static_cast<off_t>(at)) == data.substr(at, 2 * kMiB))
            << size << " at " << at;
      }
      EXPECT_EQ(read_at(fd, kMiB, static_cast<off_t>(size)), "");
      EXPECT_EQ(read_at(fd, kMiB, static_cast<off_t>(size + kMiB)), "");
    }
  }
  if (!native_run()) {
    EXPECT_GT(pipes(), before) << "nothing was spliced";
  }
}

TEST_P(LargeReadTest, HolesAreZeroes) {
  std::string data(4 * kMiB, '\0');
  const UniqueFd source(open(mount().source("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_EQ(ftruncate(source.get(), static_cast<off_t>(data.size())), 0);
  for (const std::size_t at : {std::size_t{5000}, 128 * kKiB - 3, kMiB, 3 * kMiB + 77}) {
    const std::string part = noise(9000, static_cast<unsigned>(at));
    data.replace(at, part.size(), part);
    ASSERT_EQ(pwrite(source.get(), part.data(), part.size(), static_cast<off_t>(at)), 9000);
  }
  const UniqueFd fd = open_through("f");
  EXPECT_TRUE(read_at(fd, data.size(), 0) == data);
  EXPECT_TRUE(read_at(fd, kMiB, 100 * kKiB + 1) == data.substr(100 * kKiB + 1, kMiB));
}

TEST_P(LargeReadTest, WhatWasWrittenLastIsRead) {
  const std::string first = noise(kMiB, 1);
  const std::string second = noise(kMiB, 2);
  write_file(mount().mnt("f"), first);
  const UniqueFd fd = open_through("f");
  EXPECT_TRUE(read_at(fd, kMiB, 0) == first);
  const UniqueFd writer(open(mount().mnt("f").c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(pwrite(writer.get(), second.data(), second.size(), 0),
            static_cast<ssize_t>(second.size()));
  EXPECT_TRUE(read_at(fd, kMiB, 0) == second);
  // What was read keeps no hold on the source: it can change without changing what was read.
  std::string kept(kMiB, '?');
  ASSERT_EQ(pread(fd.get(), kept.data(), kept.size(), 0), static_cast<ssize_t>(kMiB));
  write_file(mount().source("f"), first);
  EXPECT_TRUE(kept == second);
}

// The length in the answer is written before the data is there.
TEST_P(LargeReadTest, FileThatShrinksMeanwhile) {
  const std::string full(kMiB, 'x');
  write_file(mount().source("f"), full);
  std::atomic<bool> done{false};
  std::thread shrinker([&] {
    const UniqueFd source(open(mount().source("f").c_str(), O_RDWR | O_CLOEXEC));
    while (!done.load()) {
      ASSERT_EQ(ftruncate(source.get(), 100'000), 0);
      ASSERT_EQ(pwrite(source.get(), full.data(), full.size(), 0),
                static_cast<ssize_t>(full.size()));
    }
  });
  const UniqueFd fd = open_through("f");
  for (int i = 0; i < 500; ++i) {
    const std::string got = read_at(fd, kMiB, 0);
    EXPECT_TRUE(std::all_of(got.begin(), got.end(), [](char c) { return c == 'x' || c == '\0'; }));
  }
  done.store(true);
  shrinker.join();
  // What changed behind the mount shows when the attributes are no longer valid.
  EXPECT_TRUE(wait_until([&] { return read_at(fd, 2 * kMiB, 0) == full; }));
}

TEST_P(LargeReadTest, ManyReadersAtOnce) {
  const std::string data = noise(4 * kMiB, 7);
  write_file(mount().source("f"), data);
  std::vector<std::thread> readers;
  for (unsigned reader = 0; reader < 6; ++reader) {
    readers.emplace_back([&, reader] {
      std::mt19937 random(reader);
      const UniqueFd fd = open_through("f");
      for (int i = 0; i < 60; ++i) {
        const std::size_t at = random() % data.size();
        const std::size_t size = random() % kMiB;
        ASSERT_TRUE(read_at(fd, size, static_cast<off_t>(at)) == data.substr(at, size));
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
}

TEST_P(LargeReadTest, WithoutDescriptorsForPipes) {
  if (native_run()) GTEST_SKIP() << "about the daemon's descriptors";
  mount_with({.descriptors = 200});
  const std::string data = noise(kMiB, 3);
  write_file(mount().source("f"), data);
  const UniqueFd fd = open_through("f");
  ASSERT_TRUE(fd.valid());
  std::vector<UniqueFd> others;
  while (others.size() < 1000) {
    const std::string name = "g" + std::to_string(others.size());
    write_file(mount().source(name), "");
    UniqueFd other(open(mount().mnt(name).c_str(), O_RDONLY | O_CLOEXEC));
    if (!other.valid()) break;
    others.push_back(std::move(other));
  }
  ASSERT_LT(others.size(), 1000U) << "the daemon's descriptors do not run out";
  EXPECT_TRUE(read_at(fd, kMiB, 0) == data);
  EXPECT_EQ(pipes(), 0);
  others.clear();
  EXPECT_TRUE(wait_until([&] { return read_at(fd, kMiB, 0) == data && pipes() > 0; }));
}

INSTANTIATE_TEST_SUITE_P(Sources, LargeReadTest,
                         ::testing::Values(TempTree::Medium::kDisk, TempTree::Medium::kMemory),
                         [](const auto& tested) {
                           return tested.param == TempTree::Medium::kDisk ? "Disk" : "Memory";
                         });

}  // namespace
}  // namespace passthroughfs::test
