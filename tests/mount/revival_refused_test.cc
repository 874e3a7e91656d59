// SPDX-License-Identifier: Apache-2.0
//
// What a start with kept descriptors must not go on with, and whom it must not get in the way of.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "revival_fixture.h"
#include "support/stop_process.h"

namespace passthroughfs::test {
namespace {

using RevivalRefusedTest = RevivalFixture;

std::string content(int fd) {
  std::array<char, 16384> text{};
  const ssize_t got = pread(fd, text.data(), text.size(), 0);
  return {text.data(), static_cast<std::size_t>(got > 0 ? got : 0)};
}

// Whatever is not right with what was kept: the old mount is gone, and a new one there at once.
TEST_F(RevivalRefusedTest, WhatIsDamagedIsMountedAnew) {
  constexpr std::string_view kHandover = "passthroughfs-handover";
  const std::array<unsigned char, 64> nonsense{0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5};
  const auto scribble = [&](int memory) {
    EXPECT_EQ(pwrite(memory, nonsense.data(), nonsense.size(), 0), 64);
  };
  struct Damage {
    std::string_view what;
    std::string_view name;
    std::function<void(int)> done;  // to what has that name; nullptr: it is not there
    const char* said;
  };
  const std::array damages{
      Damage{"records", "passthroughfs-inodes", scribble, "cannot be gone on with"},
      Damage{"open files", "passthroughfs-handles", scribble, "cannot be gone on with"},
      Damage{"size", "passthroughfs-session", [](int fd) { EXPECT_EQ(ftruncate(fd, 100), 0); },
             "cannot be gone on with"},
      Damage{"another source", "source_root", nullptr, "it is not all there"},
      Damage{"a table that is not there", "passthroughfs-handles", nullptr, "it is not all there"},
      Damage{"no connection", "dev_fuse", nullptr, "it is not all there"},
      Damage{"no names", kHandover, nullptr, "it is not all there"},
      Damage{"names", kHandover, scribble, "it is not all there"},
      Damage{"another layout", kHandover,
             [](int fd) {
               const std::size_t at = content(fd).find(" inodes of ");
               ASSERT_NE(at, std::string::npos);
               EXPECT_EQ(pwrite(fd, "7", 1, static_cast<off_t>(at) - 1), 1);
             },
             "its tables are of another layout"},
      Damage{"another mount's number", kHandover,
             [](int fd) {
               const std::string_view key("mount_device\0", 13);
               const std::size_t at = content(fd).find(key);
               ASSERT_NE(at, std::string::npos);
               EXPECT_EQ(pwrite(fd, "1", 1, static_cast<off_t>(at + key.size())), 1);
             },
             "it is not all there"},
  };
  for (const Damage& damage : damages) {
    SCOPED_TRACE(damage.what);
    start({"io=daemon"});
    write_file(mnt("f"), "content");
    UniqueFd file = open_file(mnt("f"));
    settle();
    kill_all();
    const std::string name(damage.name);
    const int damaged = manager_->kept(name);
    ASSERT_GE(damaged, 0);
    if (damage.done) {
      damage.done(damaged);
    } else {
      manager_->lose(name);
    }
    manager_->forget_what_was_told();
    mount().start_again(manager_->kept());
    ASSERT_TRUE(wait_until([&] { return manager_->was_told("READY=1"); })) << mount().log();
    EXPECT_NE(mount().log().find(damage.said), std::string::npos) << mount().log();
    EXPECT_NE(mount().log().find(": mounting anew"), std::string::npos) << mount().log();
    EXPECT_EQ(read_file(mnt("f")), "content");
    EXPECT_FALSE(put(file.get(), "lost"));
    EXPECT_EQ(errno, ENOTCONN);
    EXPECT_EQ(stats().value("revivals", -1), 0);
    EXPECT_TRUE(manager_->was_told("FDSTOREREMOVE=1"));
    file.reset();
    // And it is kept as any other is.
    file = open_file(mnt("f"));
    kill_and_start_again();
    EXPECT_TRUE(put(file.get(), "CONTENT")) << mount().log();
    EXPECT_EQ(read_file(source("f")), "CONTENT");
    EXPECT_EQ(stats().value("revivals", -1), 1);
    file.reset();
    end();
  }
}

// Who ended it could not say so: the process that would have told the manager was gone.
TEST_F(RevivalRefusedTest, AMountThatHasEndedIsNotGoneOnWith) {
  for (const bool busy : {false, true}) {
    SCOPED_TRACE(busy ? "a file is open" : "it is unmounted");
    start({"io=daemon"});
    write_file(mnt("f"), "content");
    const UniqueFd file = busy ? open_file(mnt("f"), O_RDWR) : UniqueFd();
    kill_all();
    mount().abort();
    EXPECT_EQ(mount().mounted(), busy);
    start_again();
    EXPECT_EQ(read_file(mnt("f")), "content");
    EXPECT_EQ(stats().value("revivals", -1), 0);
    EXPECT_EQ(stats().value("server_starts", -1), 1);
    end();
  }
}

// The guardian and its deputy: the server would go on, and nobody would see it die.
TEST_F(RevivalRefusedTest, NeverTwoServers) {
  start({"io=daemon"});
  const UniqueFd file = open_file(mnt("f"));
  ASSERT_TRUE(put(file.get(), "before"));
  settle();
  const Json before = stats();
  const pid_t guardian = mount().pid();
  const pid_t deputy = before.value("deputy_pid", 0);
  const pid_t server = before.value("server_pid", 0);
  ASSERT_GT(deputy, 0);
  manager_->forget_what_was_told();
  stop_process(guardian);
  ASSERT_EQ(kill(deputy, SIGKILL), 0);
  ASSERT_EQ(kill(guardian, SIGKILL), 0);
  EXPECT_EQ(mount().wait_for_exit(), -1);
  ASSERT_EQ(kill(server, 0), 0) << "it goes on";
  start_again();
  EXPECT_TRUE(wait_until([&] { return kill(server, 0) != 0; })) << "and has to end";
  EXPECT_EQ(read_at_start(file.get()), "before");
  EXPECT_EQ(stats().value("revivals", 0), 1);
}

// The deputy is about to take the guardian's place, and the manager starts the unit again.
TEST_F(RevivalRefusedTest, AMountThatLivesIsJoined) {
  start({"io=daemon"});
  const UniqueFd file = open_file(mnt("f"));
  const pid_t server = stats().value("server_pid", 0);
  ASSERT_TRUE(wait_until([&] { return stats().value("deputy_pid", 0) > 0; }));
  manager_->forget_what_was_told();
  ASSERT_EQ(kill(mount().pid(), SIGKILL), 0);
  EXPECT_EQ(mount().wait_for_exit(), -1);
  mount().start_again(manager_->kept());
  EXPECT_EQ(mount().wait_for_exit(), 0) << mount().log();
  EXPECT_TRUE(wait_until([&] { return manager_->was_told("MAINPID="); }));
  EXPECT_EQ(stats().value("server_pid", 0), server);
  EXPECT_EQ(stats().value("revivals", -1), 0);
  EXPECT_TRUE(put(file.get(), "served"));
  EXPECT_FALSE(manager_->kept().empty());
}

}  // namespace
}  // namespace passthroughfs::test
