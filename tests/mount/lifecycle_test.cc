// SPDX-License-Identifier: Apache-2.0
//
// From the command line to the end: exit codes, messages, signals, options, and nothing left over.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "command_fixture.h"
#include "support/mount_fixture.h"
#include "support/stop_process.h"

namespace passthroughfs::test {
namespace {

TEST_F(CommandTest, SaysWhatIsWrongWithTheArguments) {
  write_file(tree_ / "file", "");
  make_dir(source_ + "/inside");
  expect_refusal(run({tree_ / "none", mnt_}), tree_ / "none");
  expect_refusal(run({tree_ / "file", mnt_}), "not a directory");
  expect_refusal(run({source_, tree_ / "none"}), tree_ / "none");
  expect_refusal(run({source_, tree_ / "file"}), "not a directory");
  expect_refusal(run({source_, source_ + "/inside"}), "inside");
  expect_refusal(run({source_}), "MOUNTPOINT");
  expect_refusal(run({}), "SOURCE");
  expect_refusal(run({source_, mnt_, "extra"}), "extra");
  expect_refusal(run({source_, mnt_, "-f", "-o", "alow_other"}), "allow_other");
  expect_refusal(run({source_, mnt_, "--handels=table"}), "handles");
  expect_refusal(run({source_, mnt_, "-o", "handles=tabel"}), "stateless");
  expect_refusal(run({source_, mnt_, "-o", "cache"}), "cache");
  expect_refusal(run({source_, mnt_, "-o", "threads=many"}), "threads");
  expect_refusal(run({source_, mnt_, "-o", "ro=1"}), "ro");
  expect_refusal(run({source_, mnt_, "-x"}), "-x");
}

TEST_F(CommandTest, RefusalsAreTheSameInTheForeground) {
  expect_refusal(run({tree_ / "none", mnt_, "-f"}), tree_ / "none");
  expect_refusal(run({source_, tree_ / "none", "-f"}), tree_ / "none");
  expect_refusal(run({source_, mnt_, "-f", "-o", "rw,nonsense"}), "nonsense");
}

TEST_F(CommandTest, HelpAndVersion) {
  for (const char* option : {"--help", "-h", "--version"}) {
    const ProgramResult result = run({option});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_NE(result.out, "");
    EXPECT_EQ(result.err, "");
  }
  EXPECT_NE(run({"mount", "--help"}).out.find("allow_other"), std::string::npos);
}

TEST_F(CommandTest, DaemonServesWhenTheCommandReturns) {
  const ProgramResult result = run({source_, mnt_});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out + result.err, "");
  EXPECT_TRUE(mounted());
  EXPECT_EQ(read_file(mnt_ + "/f"), "content");
  const std::vector<pid_t> daemons = processes_with(mnt_);
  ASSERT_FALSE(daemons.empty());
  for (const pid_t pid : daemons) {
    EXPECT_NE(getsid(pid), getsid(0)) << "the daemon stays in our session";
    EXPECT_EQ(std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/cwd"), "/");
    EXPECT_EQ(std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/fd/0"), "/dev/null");
  }
  const ProgramResult unmounted = run({"umount", mnt_});
  EXPECT_EQ(unmounted.exit_code, 0) << unmounted.err;
  EXPECT_EQ(unmounted.out + unmounted.err, "");
  EXPECT_FALSE(mounted());
  EXPECT_TRUE(wait_until([&] { return processes_with(mnt_).empty(); }));
}

TEST_F(CommandTest, TheWordMountChangesNothing) {
  ASSERT_EQ(run({"mount", source_, mnt_}).exit_code, 0);
  EXPECT_EQ(read_file(mnt_ + "/f"), "content");
  EXPECT_EQ(umount2(mnt_.c_str(), 0), 0);
}

TEST_F(CommandTest, OptionsWorkInBothSpellings) {
  for (const std::vector<std::string>& options : std::vector<std::vector<std::string>>{
           {"-o", "ro,fsname=some name,subtype=other"},
           {"--ro", "--fsname=some name", "--subtype=other"},
           {"-oro", "-o", "fsname=some name", "--subtype", "other"}}) {
    std::vector<std::string> arguments = {source_, mnt_};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const ProgramResult result = run(arguments);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_NE(mount_line(mnt_).find("fuse.other some\\040name"), std::string::npos)
        << mount_line(mnt_);
    EXPECT_EQ(mkdir((mnt_ + "/d").c_str(), 0755), -1);
    EXPECT_EQ(errno, EROFS);
    EXPECT_EQ(umount2(mnt_.c_str(), 0), 0);
    EXPECT_TRUE(wait_until([&] { return processes_with(mnt_).empty(); }));
  }
}

TEST_F(CommandTest, BusyMountPoint) {
  ASSERT_EQ(run({source_, mnt_}).exit_code, 0);
  const ProgramResult again = run({source_, mnt_});
  EXPECT_GT(again.exit_code, 0);
  EXPECT_NE(again.err.find("busy"), std::string::npos) << again.err;
  EXPECT_EQ(read_file(mnt_ + "/f"), "content");
  // And it may not be unmounted while in use.
  const UniqueFd fd(open((mnt_ + "/f").c_str(), O_RDONLY | O_CLOEXEC));
  const ProgramResult busy = run({"umount", mnt_});
  EXPECT_GT(busy.exit_code, 0);
  EXPECT_NE(busy.err.find("busy"), std::string::npos) << busy.err;
  EXPECT_TRUE(mounted());
}

TEST_F(CommandTest, UmountOfWhatIsNotMounted) {
  expect_refusal(run({"umount", mnt_}), mnt_);
  expect_refusal(run({"umount", tree_ / "none"}), tree_ / "none");
  expect_refusal(run({"umount"}), "MOUNTPOINT");
}

TEST_F(CommandTest, RelativeAndOddPaths) {
  const std::string odd = tree_.make_dir("so urce,=\\\"x");
  const std::string odd_mnt = tree_.make_dir("m nt,\\x");
  write_file(odd + "/f", "odd");
  const ProgramResult result = run({odd, odd_mnt});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(read_file(odd_mnt + "/f"), "odd");
  EXPECT_EQ(run({"umount", odd_mnt}).exit_code, 0);

  in_child([&] {
    ASSERT_EQ(chdir(tree_.path().c_str()), 0);
    const ProgramResult relative = run({"source", "./mnt/"});
    EXPECT_EQ(relative.exit_code, 0) << relative.err;
    EXPECT_EQ(read_file("mnt/f"), "content");
    EXPECT_EQ(run({"umount", "mnt"}).exit_code, 0);
  });
  EXPECT_TRUE(wait_until([&] { return processes_with("./mnt/").empty(); }));
}

TEST_F(CommandTest, SourceMayBeCoveredByItsOwnMount) {
  const ProgramResult result = run({source_, source_});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(read_file(source_ + "/f"), "content");
  write_file(source_ + "/new", "through");
  EXPECT_EQ(umount2(source_.c_str(), 0), 0);
  EXPECT_EQ(read_file(source_ + "/new"), "through");
}

TEST_F(CommandTest, MountPointInsideTheSourceByAnotherName) {
  make_dir(source_ + "/inside");
  ASSERT_EQ(symlink((source_ + "/inside").c_str(), (tree_ / "link").c_str()), 0);
  expect_refusal(run({source_, tree_ / "link"}), "inside");
  if (geteuid() == 0) {
    const std::string bound = tree_.make_dir("bound");
    ASSERT_EQ(mount(source_.c_str(), bound.c_str(), nullptr, MS_BIND, nullptr), 0);
    expect_refusal(run({source_, bound + "/inside"}), "inside");
    expect_refusal(run({bound, source_ + "/inside"}), "inside");
  }
}

TEST_F(CommandTest, LogGoesToTheFile) {
  ASSERT_EQ(run({source_, mnt_, "--log=" + tree_ / "log"}).exit_code, 0);
  EXPECT_TRUE(wait_until([&] { return read_all(tree_ / "log").find(mnt_) != std::string::npos; }));
  EXPECT_EQ(umount2(mnt_.c_str(), 0), 0);
  const ProgramResult bad = run({source_, mnt_, "--log=" + tree_ / "none/log"});
  expect_refusal(bad, "none/log");
}

TEST_F(CommandTest, DeadDaemonIsNamedAndCleanedUp) {
  ASSERT_EQ(run({source_, mnt_, "-o", "recover=off"}).exit_code, 0);
  for (const pid_t pid : processes_with(mnt_)) {
    ASSERT_EQ(kill(pid, SIGKILL), 0);
  }
  EXPECT_TRUE(
      wait_until([&] { return access((mnt_ + "/f").c_str(), F_OK) != 0 && errno == ENOTCONN; }));
  const ProgramResult again = run({source_, mnt_});
  EXPECT_GT(again.exit_code, 0);
  EXPECT_NE(again.err.find("died"), std::string::npos) << again.err;
  const ProgramResult cleaned = run({"umount", mnt_});
  EXPECT_EQ(cleaned.exit_code, 0) << cleaned.err;
  EXPECT_FALSE(mounted());
  EXPECT_EQ(run({source_, mnt_}).exit_code, 0);
  EXPECT_EQ(read_file(mnt_ + "/f"), "content");
}

TEST_F(CommandTest, OrdinaryUserMountsThroughFusermount) {
  PFS_NEEDS_ROOT();
  if (!have_program("fusermount3")) {
    GTEST_SKIP() << "fusermount3 is not installed";
  }
  const std::string device = tree_ / "fuse";
  if (mknod(device.c_str(), S_IFCHR, makedev(10, 229)) != 0 || chmod(device.c_str(), 0666) != 0) {
    GTEST_SKIP() << "cannot make a device node";
  }
  const Identity nobody{65534, 65534, {}};  // fusermount3 wants an account
  for (const char* name : {"mnt", "source", "run", "state"}) {
    ASSERT_EQ(chown((tree_ / name).c_str(), nobody.uid, nobody.gid), 0);
  }
  in_child([&] {
    // Where the device is root's alone, it is open to all in a mount namespace of our own.
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    ASSERT_EQ(mount(device.c_str(), "/dev/fuse", nullptr, MS_BIND, nullptr), 0);
    run_as(nobody, [&] {
      const ProgramResult result = run({source_, mnt_});
      ASSERT_EQ(result.exit_code, 0) << result.err;
      EXPECT_EQ(read_file(mnt_ + "/f"), "content");
      write_file(mnt_ + "/mine", "x");
    });
    ASSERT_TRUE(mounted());
    struct stat st {};
    ASSERT_EQ(stat((source_ + "/mine").c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, nobody.uid);
    run_as(kBob, [&] { EXPECT_EQ(access((mnt_ + "/f").c_str(), F_OK), -1); });
    EXPECT_EQ(access((mnt_ + "/f").c_str(), F_OK), -1) << "root is another user too";
    run_as(nobody, [&] {
      const ProgramResult result = run({"umount", mnt_});
      EXPECT_EQ(result.exit_code, 0) << result.err;
    });
    EXPECT_FALSE(mounted());
  });
}

// Whoever has ended must not take away what has come in its place: the kernel gives the number of
// its device to the next mount.
TEST_F(CommandTest, TheEndOfAMountLeavesTheNextOneAtItsPlaceAlone) {
  const auto device_number = [&] {
    std::istringstream line(mount_line(mnt_));
    std::string mount, parent, device;
    line >> mount >> parent >> device;
    return device;
  };
  for (const char* recover : {"recover=on", "recover=off"}) {
    // Another mount of this machine may get the number first.
    bool same = false;
    for (int i = 0; i < 50 && !same; ++i) {
      ASSERT_EQ(run({source_, mnt_, "-o", std::string("journal=off,") + recover}).exit_code, 0);
      const std::string device = device_number();
      const std::vector<pid_t> old = processes_with(mnt_);
      for (const pid_t pid : old) stop_process(pid);
      ASSERT_EQ(umount2(mnt_.c_str(), UMOUNT_NOFOLLOW), 0);
      ASSERT_EQ(::mount("next", mnt_.c_str(), "tmpfs", 0, nullptr), 0);
      same = device_number() == device;
      // One that goes on may end others before it is their turn.
      for (const pid_t pid : old) ASSERT_TRUE(kill(pid, SIGCONT) == 0 || errno == ESRCH);
      EXPECT_TRUE(wait_until([&] { return processes_with(mnt_).empty(); }));
      EXPECT_NE(mount_line(mnt_).find(" next "), std::string::npos) << recover;
      EXPECT_EQ(umount2(mnt_.c_str(), UMOUNT_NOFOLLOW), 0);
    }
    EXPECT_TRUE(same) << "no mount got the number";
  }
}

// The rest on a mount in the foreground, whose end the fixture judges.
class EndTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { PFS_NEEDS_DAEMON(); }
};

TEST_P(EndTest, SignalUnmountsAndEndsWithZero) {
  Mount mount;
  ASSERT_TRUE(mount.ok());
  write_file(mount.mnt("f"), "x");
  ASSERT_EQ(kill(mount.pid(), GetParam()), 0);
  EXPECT_EQ(mount.wait_for_exit(), 0);
  EXPECT_EQ(mount_line(mount.mnt()), "");
}

TEST_P(EndTest, SignalEndsItWithOpenFilesToo) {
  Mount mount;
  ASSERT_TRUE(mount.ok());
  write_file(mount.mnt("f"), "x");
  const UniqueFd fd(open(mount.mnt("f").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(write(fd.get(), "y", 1), 1);
  ASSERT_EQ(kill(mount.pid(), GetParam()), 0);
  EXPECT_EQ(mount.wait_for_exit(), 0);
  EXPECT_EQ(mount_line(mount.mnt()), "");
  EXPECT_EQ(fsync(fd.get()), -1);
  EXPECT_EQ(read_file(mount.source("f")), "y");
}

INSTANTIATE_TEST_SUITE_P(Signals, EndTest, ::testing::Values(SIGTERM, SIGINT),
                         [](const auto& number) {
                           return number.param == SIGTERM ? "Term" : "Int";
                         });

class MountOptionTest : public ::testing::Test {
 protected:
  void SetUp() override { PFS_NEEDS_DAEMON(); }
};

TEST_F(MountOptionTest, UnmountEndsTheDaemonAndLeavesNothing) {
  PFS_NEEDS_ROOT();
  Mount mount;
  ASSERT_TRUE(mount.ok());
  write_file(mount.mnt("f"), "x");
  // Named by the mount's device number.
  struct stat st {};
  ASSERT_EQ(stat(mount.mnt().c_str(), &st), 0);
  const std::string socket = "/run/passthroughfs/" + std::to_string(major(st.st_dev)) + ":" +
                             std::to_string(minor(st.st_dev)) + ".sock";
  struct stat before {};
  EXPECT_EQ(stat(socket.c_str(), &before), 0) << socket;
  ASSERT_EQ(umount2(mount.mnt().c_str(), 0), 0);
  EXPECT_EQ(mount.wait_for_exit(), 0);
  // Another mount may have got the device number by now, and a socket of that name with it.
  const bool there = stat(socket.c_str(), &st) == 0;
  EXPECT_FALSE(there && st.st_ino == before.st_ino && st.st_ctim.tv_sec == before.st_ctim.tv_sec &&
               st.st_ctim.tv_nsec == before.st_ctim.tv_nsec)
      << socket;
  EXPECT_EQ(processes_with(mount.mnt()), std::vector<pid_t>{});
}

TEST_F(MountOptionTest, LazyUnmountEndsTheDaemonWithTheLastFile) {
  PFS_NEEDS_ROOT();
  Mount mount;
  ASSERT_TRUE(mount.ok());
  write_file(mount.mnt("f"), "x");
  UniqueFd fd(open(mount.mnt("f").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(umount2(mount.mnt().c_str(), MNT_DETACH), 0);
  EXPECT_EQ(pwrite(fd.get(), "y", 1, 0), 1);
  EXPECT_EQ(read_file(mount.source("f")), "y");
  fd.reset();
  EXPECT_EQ(mount.wait_for_exit(), 0);
}

// The kernel ends the connection while it hands over the RELEASEs of all those files; in some of
// the rounds in the middle of one.
TEST_F(MountOptionTest, LazyUnmountEndsInOrderWhileManyFilesAreClosed) {
  PFS_NEEDS_ROOT();
  for (int round = 0; round < 20; ++round) {
    Mount mount;
    ASSERT_TRUE(mount.ok());
    const Gate opened;
    Child client([&] {
      for (int i = 0; i < 200; ++i) {
        ASSERT_GE(open(mount.mnt(std::to_string(i)).c_str(), O_RDWR | O_CREAT, 0644), 0);
      }
      opened.pass();
      pause();
    });
    ASSERT_TRUE(opened.wait());
    ASSERT_EQ(umount2(mount.mnt().c_str(), MNT_DETACH), 0);
    client.kill();
    ASSERT_EQ(mount.wait_for_exit(), 0) << round << ": " << mount.log();
  }
}

TEST_F(MountOptionTest, FusermountEndsTheDaemon) {
  if (!have_program("fusermount3")) {
    GTEST_SKIP() << "fusermount3 is not installed";
  }
  Mount mount;
  ASSERT_TRUE(mount.ok());
  EXPECT_EQ(run_program({"fusermount3", "-u", mount.mnt()}).exit_code, 0);
  EXPECT_EQ(mount.wait_for_exit(), 0);
}

TEST_F(MountOptionTest, ReadOnly) {
  Mount mount({.options = {"ro"}});
  ASSERT_TRUE(mount.ok());
  write_file(mount.source("f"), "content");
  make_dir(mount.source("d"));
  EXPECT_EQ(read_file(mount.mnt("f")), "content");
  auto expect_refused = [](const char* what, int result) {
    EXPECT_EQ(result, -1) << what;
    EXPECT_EQ(errno_name(errno), "EROFS") << what;
  };
  expect_refused("write", try_open(mount.mnt("f"), O_WRONLY));
  expect_refused("create", try_open(mount.mnt("new"), O_WRONLY | O_CREAT));
  expect_refused("truncate", truncate(mount.mnt("f").c_str(), 0));
  expect_refused("chmod", chmod(mount.mnt("f").c_str(), 0600));
  expect_refused("mkdir", mkdir(mount.mnt("new").c_str(), 0700));
  expect_refused("unlink", unlink(mount.mnt("f").c_str()));
  expect_refused("rmdir", rmdir(mount.mnt("d").c_str()));
  expect_refused("rename", rename(mount.mnt("f").c_str(), mount.mnt("g").c_str()));
  expect_refused("utimes", utimensat(AT_FDCWD, mount.mnt("f").c_str(), nullptr, 0));
  struct statvfs st {};
  ASSERT_EQ(statvfs(mount.mnt().c_str(), &st), 0);
  EXPECT_NE(st.f_flag & ST_RDONLY, 0U);
}

TEST_F(MountOptionTest, NoatimeLeavesAccessTimesAlone) {
  Mount mount({.options = {"noatime"}});
  ASSERT_TRUE(mount.ok());
  write_file(mount.source("f"), "content");
  make_dir(mount.source("d"));
  const timespec old[2] = {{1000000, 0}, {2000000, 0}};
  for (const char* name : {"f", "d"}) {
    ASSERT_EQ(utimensat(AT_FDCWD, mount.source(name).c_str(), old, 0), 0);
  }
  EXPECT_EQ(read_file(mount.mnt("f")), "content");
  for (const auto& entry : std::filesystem::directory_iterator(mount.mnt("d"))) {
    ADD_FAILURE() << entry.path();
  }
  for (const char* name : {"f", "d"}) {
    struct stat st {};
    ASSERT_EQ(stat(mount.mnt(name).c_str(), &st), 0);
    EXPECT_EQ(st.st_atim.tv_sec, 1000000) << name;
    ASSERT_EQ(stat(mount.source(name).c_str(), &st), 0);
    EXPECT_EQ(st.st_atim.tv_sec, 1000000) << name << " in the source";
  }
}

TEST_F(MountOptionTest, NosuidNodevNoexec) {
  PFS_NEEDS_ROOT();
  for (const bool strict : {false, true}) {
    MountSettings settings;
    if (strict) {
      settings.options = {"nosuid", "nodev", "noexec"};
    }
    Mount mount(settings);
    ASSERT_TRUE(mount.ok());
    struct statvfs st {};
    ASSERT_EQ(statvfs(mount.mnt().c_str(), &st), 0);
    EXPECT_EQ((st.f_flag & ST_NOSUID) != 0, strict);
    EXPECT_EQ((st.f_flag & ST_NODEV) != 0, strict);
    EXPECT_EQ((st.f_flag & ST_NOEXEC) != 0, strict);
    ASSERT_EQ(mknod(mount.mnt("null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
    EXPECT_EQ(try_open(mount.mnt("null"), O_RDWR), strict ? -1 : 0);
    write_file(mount.mnt("true"), read_file("/bin/true"));
    ASSERT_EQ(chmod(mount.mnt("true").c_str(), 0755), 0);
    EXPECT_EQ(run_program({mount.mnt("true")}).exit_code, strict ? 127 : 0);
  }
}

TEST_F(MountOptionTest, WithoutAllowOtherTheMountIsPrivate) {
  PFS_NEEDS_ROOT();
  Mount mount({.allow_other = false});
  ASSERT_TRUE(mount.ok());
  write_file(mount.mnt("f"), "x");
  run_as(kAlice, [&] {
    EXPECT_EQ(access(mount.mnt("f").c_str(), F_OK), -1);
    EXPECT_EQ(errno, EACCES);
  });
}

TEST_F(MountOptionTest, EveryCacheModeServes) {
  for (const char* mode : {"cache=normal", "cache=none", "cache=forever"}) {
    Mount mount({.options = {mode}});
    ASSERT_TRUE(mount.ok()) << mode;
    write_file(mount.mnt("f"), "one");
    EXPECT_EQ(read_file(mount.mnt("f")), "one");
    EXPECT_EQ(rename(mount.mnt("f").c_str(), mount.mnt("g").c_str()), 0);
    EXPECT_EQ(access(mount.mnt("f").c_str(), F_OK), -1);
    EXPECT_EQ(read_file(mount.mnt("g")), "one");
  }
}

TEST_F(MountOptionTest, UncachedSeesTheSourceAtOnce) {
  Mount mount({.options = {"cache=none"}});
  ASSERT_TRUE(mount.ok());
  EXPECT_EQ(access(mount.mnt("f").c_str(), F_OK), -1);
  for (int i = 0; i < 50; ++i) {
    write_file(mount.source("f"), "version " + std::to_string(i));
    ASSERT_EQ(read_file(mount.mnt("f")), "version " + std::to_string(i));
    ASSERT_EQ(chmod(mount.source("f").c_str(), i % 2 == 0 ? 0600 : 0644), 0);
    struct stat st {};
    ASSERT_EQ(stat(mount.mnt("f").c_str(), &st), 0);
    ASSERT_EQ(st.st_mode & 0777, i % 2 == 0 ? 0600U : 0644U);
    ASSERT_EQ(rename(mount.source("f").c_str(), mount.source("g").c_str()), 0);
    ASSERT_EQ(access(mount.mnt("f").c_str(), F_OK), -1);
  }
}

TEST_F(MountOptionTest, OneThreadIsEnough) {
  Mount mount({.options = {"threads=1"}});
  ASSERT_TRUE(mount.ok());
  ASSERT_EQ(mkfifo(mount.mnt("fifo").c_str(), 0644), 0);
  Child waits([&] { (void)open(mount.mnt("fifo").c_str(), O_RDONLY | O_CLOEXEC); });
  write_file(mount.mnt("f"), "x");
  EXPECT_EQ(read_file(mount.mnt("f")), "x");
  waits.kill();
}

}  // namespace
}  // namespace passthroughfs::test
