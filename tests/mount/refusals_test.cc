// SPDX-License-Identifier: Apache-2.0
//
// Mounts that cannot be, each with one clear line and a status; and where the lines go of a daemon
// that has no terminal.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <regex>
#include <string>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "command_fixture.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

const Identity kNobody{65534, 65534, {}};  // fusermount3 wants an account

// In a mount namespace of its own, where /dev and /etc can be changed without anybody noticing.
class RefusalTest : public CommandTest {
 protected:
  void SetUp() override {
    PFS_NEEDS_ROOT();
    CommandTest::SetUp();
  }
  void apart(const std::function<void()>& body) const {
    in_child([&] {
      ASSERT_EQ(unshare(CLONE_NEWNS), 0);
      ASSERT_EQ(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
      body();
    });
  }
  // A /dev with these devices only: "null" and others.
  void replace_dev(const std::vector<std::string>& devices) const {
    ASSERT_EQ(mount("dev", "/dev", "tmpfs", 0, "mode=755"), 0);
    for (const std::string& name : devices) {
      const std::string path = "/dev/" + name;
      const dev_t number = name == "fuse" ? makedev(10, 229) : makedev(1, 3);
      ASSERT_EQ(mknod(path.c_str(), S_IFCHR | 0666, number), 0) << errno_name(errno);
      ASSERT_EQ(chmod(path.c_str(), 0666), 0);
    }
  }
  void give_to_nobody() const {
    for (const char* name : {"mnt", "source", "run", "state"}) {
      ASSERT_EQ(chown((tree_ / name).c_str(), kNobody.uid, kNobody.gid), 0);
    }
  }
  // What an ordinary user who wants to mount needs: a device open to all, a fuse.conf that says
  // `conf`, and directories of his own.
  void apart_as_nobody(const std::string& conf, const std::function<void()>& body) const {
    if (!have_program("fusermount3")) GTEST_SKIP() << "fusermount3 is not installed";
    give_to_nobody();
    write_file(tree_ / "fuse.conf", conf);
    apart([&] {
      replace_dev({"null", "fuse"});
      if (access("/etc/fuse.conf", F_OK) == 0) {
        ASSERT_EQ(mount((tree_ / "fuse.conf").c_str(), "/etc/fuse.conf", nullptr, MS_BIND, nullptr),
                  0);
      }
      run_as(kNobody, body);
    });
  }
};

TEST_F(RefusalTest, WithoutADevice) {
  apart([&] {
    replace_dev({"null"});
    expect_refusal(run({source_, mnt_}), "there is no /dev/fuse");
    expect_refusal(run({source_, mnt_, "-f"}), "there is no /dev/fuse");
  });
}

TEST_F(RefusalTest, WritebackWhereItWouldNotBeTrue) {
  expect_refusal(run({source_, mnt_, "-o", "writeback"}), "writeback needs cache=forever");
  expect_refusal(run({source_, mnt_, "-o", "writeback,cache=forever,io=passthrough"}),
                 "writeback and io=passthrough cannot be used together");
  expect_refusal(run({source_, mnt_, "-o", "writeback,cache=forever,handles=stateless"}),
                 "writeback needs handles=table");
}

// As a container's sandbox masks what it does not give.
TEST_F(RefusalTest, WithSomethingElseInTheDevicesPlace) {
  apart([&] {
    ASSERT_EQ(mount("/dev/null", "/dev/fuse", nullptr, MS_BIND, nullptr), 0);
    expect_refusal(run({source_, mnt_}), "/dev/fuse is not the FUSE device");
    EXPECT_TRUE(
        std::regex_search(run({"doctor"}).out, std::regex("warn +/dev/fuse +is another device")));
  });
}

TEST_F(RefusalTest, AllowOtherByAUserWhomFuseConfDoesNotAllowIt) {
  apart_as_nobody("# nothing\n", [&] {
    expect_refusal(run({source_, mnt_, "-o", "allow_other"}), "user_allow_other");
    expect_refusal(run({source_, mnt_, "-o", "allow_root"}), "user_allow_other");
    EXPECT_EQ(run({source_, mnt_}).exit_code, 0) << "without it he may";
    EXPECT_EQ(run({"umount", mnt_}).exit_code, 0);
  });
}

TEST_F(RefusalTest, AllowOtherByAUserWhomFuseConfAllowsIt) {
  if (access("/etc/fuse.conf", F_OK) != 0) GTEST_SKIP() << "there is no /etc/fuse.conf";
  apart_as_nobody("user_allow_other\n", [&] {
    const ProgramResult result = run({source_, mnt_, "-o", "allow_other"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(read_file(mnt_ + "/f"), "content");
    EXPECT_EQ(run({"umount", mnt_}).exit_code, 0);
  });
}

TEST_F(RefusalTest, AMountPointThatTheUserMayNotWrite) {
  if (!have_program("fusermount3")) GTEST_SKIP() << "fusermount3 is not installed";
  give_to_nobody();
  ASSERT_EQ(chown(mnt_.c_str(), 0, 0), 0);
  const std::string hidden = tree_.make_dir("hidden", 0700);
  make_dir(hidden + "/mnt", 0777);
  apart([&] {
    replace_dev({"null", "fuse"});
    run_as(kNobody, [&] {
      expect_refusal(run({source_, mnt_}), "no write access to mountpoint " + mnt_);
      expect_refusal(run({source_, hidden + "/mnt"}), hidden + "/mnt");
    });
  });
}

TEST_F(RefusalTest, ASourceThatTheUserMayNotEnter) {
  apart_as_nobody("", [&] {
    const std::string own = source_ + "/own";
    make_dir(own, 0);
    expect_refusal(run({own + "/below", mnt_}), own + "/below");
    ASSERT_EQ(rmdir(own.c_str()), 0);
  });
}

TEST_F(RefusalTest, AnOrdinaryUserWithoutFusermount) {
  apart_as_nobody("", [&] {
    expect_refusal(run({source_, mnt_}, {"PATH=" + tree_ / "none"}), "fusermount3");
  });
}

// --- Where the log goes -------------------------------------------------------------------------

class DaemonLogTest : public RefusalTest {};

TEST_F(DaemonLogTest, HangUpOpensTheLogFileAgain) {
  const std::string log = tree_ / "log";
  ASSERT_EQ(run({source_, mnt_, "--log=" + log}).exit_code, 0);
  const std::string serving = "serving " + source_;
  ASSERT_TRUE(wait_until([&] { return read_all(log).find(serving) != std::string::npos; }));
  // As logrotate does it.
  ASSERT_EQ(rename(log.c_str(), (log + ".1").c_str()), 0);
  for (const pid_t pid : processes_with(mnt_)) ASSERT_EQ(kill(pid, SIGHUP), 0);
  ASSERT_TRUE(wait_until([&] { return access(log.c_str(), F_OK) == 0; }));
  EXPECT_EQ(read_file(mnt_ + "/f"), "content") << "it goes on";
  EXPECT_EQ(umount2(mnt_.c_str(), 0), 0);
  EXPECT_TRUE(wait_until([&] { return read_all(log).find("is unmounted") != std::string::npos; }));
  EXPECT_EQ(read_all(log).find(serving), std::string::npos);
  EXPECT_EQ(read_all(log + ".1").find("is unmounted"), std::string::npos);
  EXPECT_TRUE(wait_until([&] { return processes_with(mnt_).empty(); }));
}

TEST_F(DaemonLogTest, HangUpThatCannotOpenTheFileKeepsTheOldOne) {
  const std::string folder = tree_.make_dir("logs");
  const std::string log = folder + "/log";
  ASSERT_EQ(run({source_, mnt_, "--log=" + log}).exit_code, 0);
  ASSERT_TRUE(wait_until([&] { return access(log.c_str(), F_OK) == 0; }));
  ASSERT_EQ(rename(log.c_str(), (log + ".1").c_str()), 0);
  make_dir(log);
  for (const pid_t pid : processes_with(mnt_)) ASSERT_EQ(kill(pid, SIGHUP), 0);
  EXPECT_TRUE(wait_until(
      [&] { return read_all(log + ".1").find("cannot open the log file") != std::string::npos; }));
  EXPECT_EQ(read_file(mnt_ + "/f"), "content");
}

// A daemon without --log speaks to syslog, whose socket is the test's here.
TEST_F(DaemonLogTest, WithoutAFileItGoesToSyslog) {
  apart([&] {
    replace_dev({"null", "fuse"});
    const UniqueFd syslog(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{AF_UNIX, "/dev/log"};
    ASSERT_EQ(bind(syslog.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    std::string heard;
    auto hear = [&](const std::string& text) {
      return wait_until([&] {
        std::array<char, 4096> line{};
        const ssize_t n = recv(syslog.get(), line.data(), line.size(), 0);
        if (n > 0) heard.append(line.data(), static_cast<std::size_t>(n)) += '\n';
        return heard.find(text) != std::string::npos;
      });
    };
    const ProgramResult result = run({source_, mnt_});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.out + result.err, "");
    EXPECT_TRUE(hear("serving " + source_ + " at " + mnt_)) << heard;
    // Facility daemon (3), severity info (6), and who says it.
    EXPECT_TRUE(std::regex_search(
        heard, std::regex("(^|\n)<30>[^\n]*passthroughfs\\[[0-9]+\\]: [^\n]*serving")))
        << heard;
    EXPECT_EQ(run({"umount", mnt_}).exit_code, 0);
    EXPECT_TRUE(hear(mnt_ + " is unmounted")) << heard;
  });
}

TEST_F(DaemonLogTest, WithoutSyslogItServesAllTheSame) {
  apart([&] {
    replace_dev({"null", "fuse"});
    const ProgramResult result = run({source_, mnt_});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(read_file(mnt_ + "/f"), "content");
    EXPECT_EQ(run({"umount", mnt_}).exit_code, 0);
  });
}

}  // namespace
}  // namespace passthroughfs::test
