// SPDX-License-Identifier: Apache-2.0
//
// The embedding interface, in a process that goes on living after its mounts.
#include "passthroughfs/filesystem.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <sstream>
#include <thread>

#include "passthroughfs/client.h"
#include "proto/mount_point.h"
#include "support/run_as.h"
#include "support/temp_tree.h"
#include "support/wait_until.h"

namespace passthroughfs {
namespace {

// Journals of mounts that do not say where theirs is.
class StateDirectory : public ::testing::Environment {
 public:
  void SetUp() override {
    ASSERT_EQ(setenv("XDG_STATE_HOME", tree_.make_dir("state").c_str(), 1), 0);
  }

 private:
  test::TempTree tree_;
};
const auto* const g_state_directory =
    ::testing::AddGlobalTestEnvironment(new StateDirectory);  // owned by GoogleTest

bool is_mounted(const std::string& path) {
  const auto found = find_mount_point(path);
  return found && found->is_root && found->is_fuse();
}

std::string content(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

int open_descriptors() {
  int count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

using test::kAlice;
using test::kBob;

struct stat stat_of(const std::string& path) {
  struct stat st {};
  EXPECT_EQ(lstat(path.c_str(), &st), 0) << path;
  return st;
}

// Takes capabilities from this process for good.
void give_up(std::initializer_list<unsigned> capabilities) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  ASSERT_EQ(syscall(SYS_capget, &header, data.data()), 0);
  for (const unsigned capability : capabilities) {
    data[capability / 32].effective &= ~(1U << (capability % 32));
    data[capability / 32].permitted &= ~(1U << (capability % 32));
  }
  ASSERT_EQ(syscall(SYS_capset, &header, data.data()), 0);
}

// Makes a system call fail with EPERM in this process from now on, as a container's filter does.
void refuse(unsigned call) {
  std::array filter{
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), 0);
}

class FilesystemTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "cannot open /dev/fuse";
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to mount without fusermount3";
  }

  test::TempTree tree_;
  const std::string source_ = tree_.make_dir("source");
  const std::string mountpoint_ = tree_.make_dir("mount");
};

TEST_F(FilesystemTest, ServesUntilItIsStopped) {
  Filesystem filesystem(source_, mountpoint_);
  const auto mounted = filesystem.mount();
  ASSERT_TRUE(mounted) << mounted.error().message;
  std::ofstream(mountpoint_ + "/file") << "text";
  EXPECT_EQ(content(source_ + "/file"), "text");
  std::thread runner([&] {
    const auto ended = filesystem.run();
    EXPECT_TRUE(ended) << ended.error().message;
  });
  const auto stopped = filesystem.stop();
  EXPECT_TRUE(stopped) << stopped.error().message;
  runner.join();
  EXPECT_FALSE(is_mounted(mountpoint_));
}

TEST_F(FilesystemTest, EndsWhenSomebodyElseUnmounts) {
  Filesystem filesystem(source_, mountpoint_);
  ASSERT_TRUE(filesystem.mount());
  ASSERT_EQ(umount2(mountpoint_.c_str(), 0), 0);
  const auto ended = filesystem.run();
  EXPECT_TRUE(ended) << ended.error().message;
  EXPECT_TRUE(filesystem.stop());
}

TEST_F(FilesystemTest, ItsDestructorUnmounts) {
  const int before = open_descriptors();
  {
    Filesystem filesystem(source_, mountpoint_);
    ASSERT_TRUE(filesystem.mount());
    EXPECT_TRUE(is_mounted(mountpoint_));
  }
  EXPECT_FALSE(is_mounted(mountpoint_));
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(FilesystemTest, StopIsHarmlessWhenNothingIsMounted) {
  Filesystem filesystem(source_, mountpoint_);
  EXPECT_TRUE(filesystem.stop());
  const auto ended = filesystem.run();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, EINVAL);
}

TEST_F(FilesystemTest, TakesOptionsUntilItIsMounted) {
  Filesystem filesystem(source_, mountpoint_);
  EXPECT_TRUE(filesystem.configure("ro"));
  EXPECT_TRUE(filesystem.configure("fsname", "a name"));
  const auto unknown = filesystem.configure("cahce", "none");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().message, "unknown option 'cahce'; did you mean 'cache'?");
  ASSERT_TRUE(filesystem.mount());
  EXPECT_FALSE(filesystem.configure("cache", "none"));
  EXPECT_EQ(find_mount_point(mountpoint_)->source, "a name");
  EXPECT_EQ(mkdir((mountpoint_ + "/d").c_str(), 0755), -1);
  EXPECT_EQ(errno, EROFS);
}

TEST_F(FilesystemTest, RecoveryNeedsAProcessOfItsOwn) {
  Filesystem fs(source_, mountpoint_);
  ASSERT_TRUE(fs.configure("recover", "on"));
  const auto mounted = fs.mount();
  ASSERT_FALSE(mounted);
  EXPECT_EQ(mounted.error().code, EINVAL);
  EXPECT_FALSE(fs.is_guarded());
}

TEST_F(FilesystemTest, AFailedMountLeavesNothing) {
  const int before = open_descriptors();
  {
    Filesystem filesystem(source_, source_ + "/none");
    const auto mounted = filesystem.mount();
    ASSERT_FALSE(mounted);
    EXPECT_EQ(mounted.error().code, ENOENT);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(FilesystemTest, AFailureSaysWhatTheSystemCallSaid) {
  test::in_child([&] {
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const rlim_t most = pages * static_cast<std::size_t>(getpagesize()) + (rlim_t{1} << 30);
    const rlimit limit{most, most};  // the tables reserve 8 GiB of addresses
    ASSERT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    Filesystem filesystem(source_, mountpoint_);
    const auto mounted = filesystem.mount();
    ASSERT_FALSE(mounted);
    EXPECT_EQ(mounted.error().code, ENOMEM) << mounted.error().message;
  });
}

TEST_F(FilesystemTest, SeveralLiveInOneProcess) {
  const std::string other = tree_.make_dir("other");
  Filesystem first(source_, mountpoint_);
  Filesystem second(source_, other);
  ASSERT_TRUE(first.mount());
  ASSERT_TRUE(second.mount());
  std::ofstream(mountpoint_ + "/file") << "text";
  EXPECT_EQ(content(other + "/file"), "text");
}

TEST_F(FilesystemTest, LeavesTheProcessAsItIs) {
  const mode_t mask = umask(077);
  {
    Filesystem filesystem(source_, mountpoint_);
    ASSERT_TRUE(filesystem.mount());
    // The mount serves with its own umask: the client's is what counts.
    test::in_child([&] {
      umask(022);
      const int fd =
          open((mountpoint_ + "/file").c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0666);
      ASSERT_GE(fd, 0);
      struct stat st {};
      ASSERT_EQ(fstat(fd, &st), 0);
      EXPECT_EQ(st.st_mode & 0777U, 0644U);
    });
  }
  EXPECT_EQ(umask(mask), mode_t{077});
  EXPECT_EQ(system("true"), 0) << "programs can still be started";
}

// Finding out whether a file is still mapped takes a lease, and an opener who comes meanwhile makes
// the kernel send SIGIO, which ends a process that has not asked for it.
TEST_F(FilesystemTest, LeasesItTakesAreNotTheProcesssBusiness) {
  test::in_child([&] {
    std::ofstream(source_ + "/file") << "text";
    constexpr int kTimes = 3000;
    const test::Gate mounted_now;
    // Before there is a mount: whoever inherits its connection keeps it when the process has died.
    test::Child opener([&] {
      ASSERT_TRUE(mounted_now.wait());
      for (int i = 0; i < kTimes; ++i) {
        const int fd = open((source_ + "/file").c_str(), O_WRONLY | O_CLOEXEC);
        ASSERT_GE(fd, 0);
        close(fd);
      }
    });
    test::Child client([&] {
      ASSERT_TRUE(mounted_now.wait());
      for (int i = 0; i < kTimes; ++i) {
        const int fd = open((mountpoint_ + "/file").c_str(), O_RDWR | O_CLOEXEC);
        ASSERT_GE(fd, 0);
        close(fd);
        (void)stat_of(mountpoint_ + "/file");
      }
    });
    Filesystem filesystem(source_, mountpoint_);
    const auto mounted = filesystem.mount();
    ASSERT_TRUE(mounted) << mounted.error().message;
    struct sigaction action {};
    ASSERT_EQ(sigaction(SIGIO, nullptr, &action), 0);
    EXPECT_EQ(action.sa_handler, SIG_DFL);
    mounted_now.pass(2);
    EXPECT_TRUE(opener.join());
    EXPECT_TRUE(client.join());
  });
}

TEST_F(FilesystemTest, IsFoundByTheControlClientUnlessItIsNotOffered) {
  {
    Filesystem filesystem(source_, mountpoint_);
    ASSERT_TRUE(filesystem.mount());
    auto client = Client::connect(mountpoint_);
    ASSERT_TRUE(client) << client.error().message;
    EXPECT_EQ(client->info()->mountpoint, mountpoint_);
    const int fd = open((mountpoint_ + "/f").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    ASSERT_GE(fd, 0);
    const auto files = client->handles();
    ASSERT_TRUE(files);
    ASSERT_EQ(files->size(), 1U);
    EXPECT_EQ((*files)[0].path, "f");
    EXPECT_EQ((*files)[0].pid, static_cast<std::uint32_t>(getpid()));
    close(fd);
  }
  Filesystem filesystem(source_, mountpoint_);
  filesystem.offer_control(false);
  ASSERT_TRUE(filesystem.mount());
  EXPECT_FALSE(Client::connect(mountpoint_));
}

TEST_F(FilesystemTest, TheControlClientCanUnmount) {
  Filesystem filesystem(source_, mountpoint_);
  ASSERT_TRUE(filesystem.mount());
  auto client = Client::connect(mountpoint_);
  ASSERT_TRUE(client);
  std::thread runner([&] { EXPECT_TRUE(filesystem.run()); });
  const auto done = client->unmount();
  EXPECT_TRUE(done) << done.error().message;
  runner.join();
  EXPECT_FALSE(is_mounted(mountpoint_));
}

TEST_F(FilesystemTest, StopDetachesABusyMountAtOnce) {
  Filesystem filesystem(source_, mountpoint_);
  ASSERT_TRUE(filesystem.mount());
  std::ofstream(source_ + "/file") << "text";
  const int fd = open((mountpoint_ + "/file").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  std::thread stopper([&] { EXPECT_TRUE(filesystem.stop()); });
  EXPECT_TRUE(test::wait_until([&] { return !is_mounted(mountpoint_); }));
  // The file still works while it is open, and its close is what the end waits for.
  char byte = 0;
  EXPECT_EQ(pread(fd, &byte, 1, 0), 1);
  close(fd);
  const auto ended = filesystem.run();
  EXPECT_TRUE(ended) << ended.error().message;
  stopper.join();
}

// ---- several users, of a process that has not been dedicated to the mount ----------------------

class EmbeddedRightsTest : public FilesystemTest,
                           public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    FilesystemTest::SetUp();
    ASSERT_EQ(chmod(source_.c_str(), 0777), 0);
  }
  void mount(Filesystem& filesystem) const {
    ASSERT_TRUE(filesystem.configure("allow_other"));
    ASSERT_TRUE(filesystem.configure("io", GetParam()));
    const auto mounted = filesystem.mount();
    ASSERT_TRUE(mounted) << mounted.error().message;
  }
};

TEST_P(EmbeddedRightsTest, WhatIsMadeBelongsToItsMaker) {
  Filesystem filesystem(source_, mountpoint_);
  ASSERT_NO_FATAL_FAILURE(mount(filesystem));
  test::run_as(kAlice, [&] {
    const int fd =
        open((mountpoint_ + "/file").c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
    ASSERT_GE(fd, 0);
    close(fd);
    ASSERT_EQ(mkdir((mountpoint_ + "/dir").c_str(), 0755), 0);
    ASSERT_EQ(symlink("x", (mountpoint_ + "/link").c_str()), 0);
  });
  for (const char* name : {"/file", "/dir", "/link"}) {
    EXPECT_EQ(stat_of(source_ + name).st_uid, kAlice.uid) << name;
    EXPECT_EQ(stat_of(source_ + name).st_gid, kAlice.gid) << name;
  }
}

TEST_P(EmbeddedRightsTest, SetIdBitsGoWhenAnotherUserWrites) {
  Filesystem filesystem(source_, mountpoint_);
  ASSERT_NO_FATAL_FAILURE(mount(filesystem));
  for (const char* name : {"/write", "/truncate", "/fallocate"}) {
    std::ofstream(source_ + name) << "0123456789";
    ASSERT_EQ(chown((source_ + name).c_str(), kAlice.uid, kAlice.gid), 0);
    ASSERT_EQ(chmod((source_ + name).c_str(), 06777), 0);
  }
  test::run_as(kBob, [&] {
    const int fd = open((mountpoint_ + "/write").c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(write(fd, "x", 1), 1);
    ASSERT_EQ(truncate((mountpoint_ + "/truncate").c_str(), 5), 0);
    const int other = open((mountpoint_ + "/fallocate").c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_EQ(fallocate(other, 0, 0, 100), 0);
  });
  for (const char* name : {"/write", "/truncate", "/fallocate"}) {
    EXPECT_EQ(stat_of(source_ + name).st_mode & 07777, 0777U) << name;
  }
}

// The groups of the process are not its clients'.
TEST_P(EmbeddedRightsTest, TheGroupsOfTheProcessStayItsOwn) {
  test::in_child([&] {
    const gid_t team = 50010;
    ASSERT_EQ(setgroups(1, &team), 0);
    Filesystem filesystem(source_, mountpoint_);
    ASSERT_NO_FATAL_FAILURE(mount(filesystem));
    std::ofstream(source_ + "/file") << "0123456789";
    ASSERT_EQ(chown((source_ + "/file").c_str(), kAlice.uid, team), 0);
    ASSERT_EQ(chmod((source_ + "/file").c_str(), 02766), 0);  // no execution for the group
    test::run_as(kBob, [&] { ASSERT_EQ(truncate((mountpoint_ + "/file").c_str(), 5), 0); });
    EXPECT_EQ(stat_of(source_ + "/file").st_mode & 07777, 0766U);
    gid_t now = 0;
    ASSERT_EQ(getgroups(1, &now), 1);
    EXPECT_EQ(now, team);
    EXPECT_EQ(geteuid(), 0U);
  });
}

INSTANTIATE_TEST_SUITE_P(Io, EmbeddedRightsTest, ::testing::Values("auto", "daemon"));

// Whoever cannot act as its clients, but has more rights than they, must not serve them.
class PrivilegedTest : public FilesystemTest {
 protected:
  void expect_refused(const std::function<void()>& hinder) const {
    for (const char* option : {"allow_other", "allow_root"}) {
      test::in_child([&] {
        hinder();
        Filesystem filesystem(source_, mountpoint_);
        ASSERT_TRUE(filesystem.configure(option));
        const auto mounted = filesystem.mount();
        ASSERT_FALSE(mounted);
        EXPECT_EQ(mounted.error().code, EPERM);
        EXPECT_NE(mounted.error().message.find(option), std::string::npos)
            << mounted.error().message;
        EXPECT_FALSE(is_mounted(mountpoint_));
      });
    }
  }
};

TEST_F(PrivilegedTest, RootWithoutTheRightToChangeUserServesNobodyElse) {
  expect_refused([] { give_up({CAP_SETUID}); });
  expect_refused([] { give_up({CAP_SETGID}); });
}

TEST_F(PrivilegedTest, RootWhoseGroupsAreFixedServesNobodyElse) {
  expect_refused([] { refuse(SYS_setgroups); });
}

TEST_F(PrivilegedTest, RootWhoseCapabilitiesSurviveAChangeOfUserServesNobodyElse) {
  expect_refused([] { ASSERT_EQ(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP), 0); });
}

TEST_F(PrivilegedTest, ADedicatedProcessIsNoException) {
  test::in_child([&] {
    give_up({CAP_SETUID});
    Filesystem filesystem(source_, mountpoint_);
    filesystem.dedicate_process(true);
    ASSERT_TRUE(filesystem.configure("allow_other"));
    EXPECT_FALSE(filesystem.mount());
    EXPECT_FALSE(is_mounted(mountpoint_));
  });
}

// For itself it may. Set-id bits go when a root without CAP_FSETID writes, as they do natively.
TEST_F(PrivilegedTest, RootWithoutTheRightToChangeUserServesItself) {
  for (const char* io : {"auto", "daemon"}) {
    test::in_child([&] {
      give_up({CAP_SETUID});
      Filesystem filesystem(source_, mountpoint_);
      ASSERT_TRUE(filesystem.configure("io", io));
      const auto mounted = filesystem.mount();
      ASSERT_TRUE(mounted) << mounted.error().message;
      std::ofstream(mountpoint_ + "/file") << "text";
      ASSERT_EQ(chmod((mountpoint_ + "/file").c_str(), 06777), 0);
      test::in_child([&] {
        give_up({CAP_FSETID});
        ASSERT_EQ(truncate((mountpoint_ + "/file").c_str(), 2), 0);
      });
      EXPECT_EQ(stat_of(source_ + "/file").st_mode & 07777, 0777U) << io;
    });
  }
}

// Without a mask of its own, a thread would make files with another thread's.
TEST_F(FilesystemTest, AThreadWithoutAMaskOfItsOwnDoesNotServe) {
  for (const char* transport : {"dev", "auto"}) {
    test::in_child([&] {
      refuse(SYS_unshare);
      Filesystem filesystem(source_, mountpoint_);
      ASSERT_TRUE(filesystem.configure("transport", transport));
      const auto mounted = filesystem.mount();
      ASSERT_FALSE(mounted);
      EXPECT_EQ(mounted.error().code, EPERM);
      EXPECT_NE(mounted.error().message.find("umask"), std::string::npos)
          << mounted.error().message;
      EXPECT_FALSE(is_mounted(mountpoint_));
    });
  }
}

}  // namespace
}  // namespace passthroughfs
