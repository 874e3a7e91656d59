// SPDX-License-Identifier: Apache-2.0
//
// All processes of a mount are killed at once, and the service manager, which is the test, starts
// the program again with the descriptors that it was given to keep.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "fake_manager.h"
#include "support/json.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {

class RevivalFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
    manager_ = std::make_unique<FakeManager>(tree_ / "notify");
  }
  void start(std::vector<std::string> options, const std::string& source = {},
             const std::string& journal = "off") {
    options.emplace_back("journal=" + journal);
    MountSettings settings{.options = std::move(options),
                           .source = source,
                           .environment = {manager_->variable()},
                           .server_dies = true,
                           .starts_again = true};
    mount_ = std::make_unique<Mount>(settings);
    ASSERT_TRUE(mount_->ok());
    ASSERT_TRUE(wait_until([&] { return manager_->was_told("READY=1"); }));
  }
  void TearDown() override {
    if (manager_) end();
  }
  void end() {
    mount_.reset();
    EXPECT_TRUE(wait_until([&] { return manager_->kept().empty(); })) << "an end clears the store";
    manager_->forget_what_was_told();
  }

  Mount& mount() { return *mount_; }
  std::string mnt(std::string_view name) const { return mount_->mnt(name); }
  std::string source(std::string_view name) const { return mount_->source(name); }
  Json stats() const { return test::stats(*mount_); }
  // What is known has been saved, so that it is found again.
  void settle() {
    ASSERT_TRUE(wait_until([&] { return stats().value("unsaved_inodes", 1) == 0; }));
  }
  void kill_all() {
    manager_->forget_what_was_told();
    mount_->kill_all();
  }
  void start_again() {
    mount_->start_again(manager_->kept());
    ASSERT_TRUE(wait_until([&] { return manager_->was_told("READY=1"); })) << mount_->log();
  }
  void kill_and_start_again() {
    settle();
    kill_all();
    start_again();
  }
  UniqueFd open_file(const std::string& path, int flags = O_RDWR | O_CREAT) {
    UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, 0644));
    EXPECT_TRUE(fd.valid()) << path << ": " << errno_name(errno);
    return fd;
  }

  TempTree tree_;
  std::unique_ptr<FakeManager> manager_;
  std::unique_ptr<Mount> mount_;
};

inline std::string read_at_start(int fd) {
  std::array<char, 64> text{};
  const ssize_t got = pread(fd, text.data(), text.size(), 0);
  return got < 0 ? errno_name(errno) : std::string(text.data(), static_cast<std::size_t>(got));
}

inline bool put(int fd, std::string_view text) {
  return pwrite(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
}

}  // namespace passthroughfs::test
