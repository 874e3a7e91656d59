// SPDX-License-Identifier: Apache-2.0
//
// Acting as clients that exist, and seeing what that makes of a thread.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "source/credentials.h"
#include "support/mount_fixture.h"
#include "support/run_as.h"
#include "support/temp_tree.h"

namespace passthroughfs::test {

// Groups that no account of the machine is in.
inline constexpr gid_t kGroup = 50100;
inline constexpr gid_t kOther = 50101;

// What the kernel says that this thread is.
struct Now {
  uid_t uid;
  gid_t gid;
  std::vector<gid_t> groups;
  std::uint64_t effective;
  friend bool operator==(const Now&, const Now&) = default;

  static Now read() {
    Now now;
    now.uid = static_cast<uid_t>(::setfsuid(static_cast<uid_t>(-1)));
    now.gid = static_cast<gid_t>(::setfsgid(static_cast<gid_t>(-1)));
    now.groups.resize(64);
    const int count = ::getgroups(64, now.groups.data());
    now.groups.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, 2> data{};
    EXPECT_EQ(::syscall(SYS_capget, &header, data.data()), 0);
    now.effective = data[0].effective | std::uint64_t{data[1].effective} << 32;
    return now;
  }
  [[nodiscard]] bool has(int capability) const { return (effective >> capability & 1) != 0; }
};

// A client: a process of that identity (and whatever `prepare` does) that waits until it is let go.
class Client {
 public:
  explicit Client(const Identity& who, const std::function<void()>& prepare = {})
      : child_(who, [this, prepare] {
          if (prepare) prepare();
          ready_.pass();
          EXPECT_TRUE(leave_.wait());
        }) {
    EXPECT_TRUE(ready_.wait());
  }
  ~Client() {
    leave_.pass();
    child_.join();
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  [[nodiscard]] pid_t pid() const { return child_.pid(); }

 private:
  Gate ready_;
  Gate leave_;
  Child child_;
};

inline Caller caller_of(const Identity& who, pid_t pid = 0) {
  Caller caller;
  caller.uid = who.uid;
  caller.gid = who.gid;
  caller.pid = pid;
  return caller;
}

// Acts as the daemon does: as root without supplementary groups.
class CredentialsFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_ROOT();
    ASSERT_EQ(::setgroups(0, nullptr), 0);
    ASSERT_TRUE(enable_impersonation());
    ASSERT_TRUE(impersonation_enabled());
    ASSERT_TRUE(own_umask());
    set_thread_reserves(true);
    ASSERT_EQ(::chmod(tree_.path().c_str(), 0777), 0);
    before_ = Now::read();
  }
  void TearDown() override {
    if (geteuid() != 0) return;
    set_thread_reserves(true);
    EXPECT_EQ(Now::read(), before_) << "the thread is not what it was";
  }

  [[nodiscard]] std::string path(const std::string& name) const { return tree_ / name; }
  Result<void> create(const std::string& name, mode_t mode = 0644) const {
    auto fd = own(::open(path(name).c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode));
    if (!fd) return fd.error();
    return ok();
  }
  [[nodiscard]] struct stat stat(const std::string& name) const {
    struct stat st {};
    EXPECT_EQ(::lstat(path(name).c_str(), &st), 0) << name;
    return st;
  }
  // A directory of root's, with that group and mode.
  void make_directory(const std::string& name, gid_t group, mode_t mode) const {
    ASSERT_EQ(::mkdir(path(name).c_str(), 0700), 0);
    ASSERT_EQ(::chown(path(name).c_str(), 0, group), 0);
    ASSERT_EQ(::chmod(path(name).c_str(), mode), 0);
  }
  void make_owned(const std::string& name, uid_t uid, gid_t gid, mode_t mode) const {
    ASSERT_TRUE(create(name).has_value());
    ASSERT_EQ(::chown(path(name).c_str(), uid, gid), 0);
    ASSERT_EQ(::chmod(path(name).c_str(), mode), 0);
  }
  Result<void> change_mode(const std::string& name, mode_t mode) const {
    return check_void(::chmod(path(name).c_str(), mode));
  }

  TempTree tree_;
  Now before_{};
};

}  // namespace passthroughfs::test
