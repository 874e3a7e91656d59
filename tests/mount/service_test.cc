// SPDX-License-Identifier: Apache-2.0
//
// A service manager starts the mount, and the test is that manager: what it is told, and what is
// done about a server that lives and does nothing.
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/fd.h"
#include "frozen_source.h"
#include "notify_socket.h"
#include "support/json.h"
#include "support/mount_fixture.h"
#include "support/stop_process.h"

namespace passthroughfs::test {
namespace {

using std::chrono::milliseconds;

class ServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
  }
  MountSettings settings(std::vector<std::string> options, const NotifySocket* manager = nullptr,
                         const std::string& period = "") const {
    options.emplace_back("journal=off");
    MountSettings settings{.options = std::move(options), .server_dies = true};
    if (manager != nullptr) settings.environment.push_back(manager->variable());
    settings.environment.emplace_back("FDSTORE=0");  // it keeps none, see revival_test.cc
    if (!period.empty()) settings.environment.push_back("WATCHDOG_USEC=" + period);
    return settings;
  }

  TempTree tree_;
};

// Whether a thread is in this system call, and nothing ends that. A thread may be so for a moment
// in any other call, and that is not the disk.
bool waits_for_disk(pid_t process, long call) {
  const std::string tasks = "/proc/" + std::to_string(process) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    const std::string number = read_all(task.path().string() + "/syscall");
    if (!number.starts_with(std::to_string(call) + " ")) continue;
    const std::string stat = read_all(task.path().string() + "/stat");
    const std::size_t name_end = stat.rfind(')');
    if (name_end != std::string::npos && stat.substr(name_end).starts_with(") D")) return true;
  }
  return false;
}

// In which a manager with the period of these tests, 2 s, would have been pinged several times.
constexpr milliseconds kLong{3000};

TEST_F(ServiceTest, TheManagerIsToldOfTheBeginningTheEndAndThatItLives) {
  const std::string abstract = "@passthroughfs-test-" + std::to_string(getpid());
  for (const std::string& name : {tree_ / "notify", abstract}) {
    for (const char* recover : {"recover=on", "recover=off"}) {
      SCOPED_TRACE(name + " " + recover);
      if (name[0] == '/') unlink(name.c_str());
      NotifySocket manager(name);
      Mount mount(settings({recover}, &manager, "2000000"));
      ASSERT_TRUE(mount.ok());
      EXPECT_TRUE(manager.hears("READY=1\nSTATUS=serving " + mount.source()));
      EXPECT_EQ(manager.sender(), mount.pid());
      for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(manager.hears("WATCHDOG=1"));
        EXPECT_EQ(manager.sender(), mount.pid()) << "others are not listened to";
      }
      mount.stop();
      EXPECT_TRUE(manager.hears("STOPPING=1"));
    }
  }
}

TEST_F(ServiceTest, SigtermIsToldAsWell) {
  NotifySocket manager(tree_ / "notify");
  Mount mount(settings({"recover=on"}, &manager));
  ASSERT_TRUE(mount.ok());
  ASSERT_EQ(kill(mount.pid(), SIGTERM), 0);
  EXPECT_TRUE(manager.hears("STOPPING=1"));
  EXPECT_EQ(mount.wait_for_exit(), 0);
}

TEST_F(ServiceTest, AFailureIsToldWithItsReason) {
  NotifySocket manager(tree_ / "notify");
  const ProgramResult result =
      run_program({program_path(), tree_ / "none", tree_ / "none", "-f"}, {manager.variable()});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(manager.hears("ERRNO=2"));
}

TEST_F(ServiceTest, WhoIsNotMeantDoesNotPing) {
  NotifySocket manager(tree_ / "notify");
  MountSettings one = settings({"recover=off"}, &manager, "2000000");
  one.environment.emplace_back("WATCHDOG_PID=1");
  Mount mount(one);
  ASSERT_TRUE(mount.ok());
  EXPECT_TRUE(manager.hears("READY=1"));
  EXPECT_FALSE(manager.hears("WATCHDOG=1", kLong));
}

// What systemd does with Restart=on-failure, when the process that it had started was killed.
TEST_F(ServiceTest, AStartAfterTheGuardiansDeathJoinsTheMountThatLives) {
  NotifySocket manager(tree_ / "notify");
  MountSettings one = settings({"recover=on"}, &manager, "2000000");
  one.broken_on_purpose = true;
  Mount mount(one);
  ASSERT_TRUE(mount.ok());
  const UniqueFd file(open(mount.mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  const auto process = [&](const char* field) { return stats(mount).value(field, 0); };
  const pid_t first = mount.pid();
  ASSERT_TRUE(wait_until([&] { return process("deputy_pid") > 0; }));
  ASSERT_EQ(kill(first, SIGKILL), 0);
  ASSERT_TRUE(
      wait_until([&] { return process("guardian_pid") > 0 && process("guardian_pid") != first; }));
  manager.forget();
  const ProgramResult again =
      run_program({program_path(), mount.source(), mount.mnt(), "-f", "-o", "journal=off"}, [&] {
        std::vector<std::string> environment = mount.environment();
        environment.push_back(manager.variable());
        return environment;
      }());
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_TRUE(manager.hears("MAINPID=" + std::to_string(process("guardian_pid")) + "\nREADY=1"));
  EXPECT_EQ(ftruncate(file.get(), 3), 0) << errno_name(errno);
}

// Nobody replaces it, so it is for the manager to see that it does nothing.
TEST_F(ServiceTest, AStoppedServerThatIsNotReplacedDoesNotPing) {
  for (const std::vector<std::string>& options :
       std::vector<std::vector<std::string>>{{"recover=off"}, {"recover=on", "replace_after=0"}}) {
    unlink((tree_ / "notify").c_str());
    NotifySocket manager(tree_ / "notify");
    Mount mount(settings(options, &manager, "2000000"));
    ASSERT_TRUE(mount.ok());
    EXPECT_TRUE(manager.hears("WATCHDOG=1"));
    const pid_t server = mount.server_pid();
    stop_process(server);
    // One that was due is on its way.
    EXPECT_TRUE(wait_until([&] { return !manager.hears("WATCHDOG=1", milliseconds(1500)); }));
    EXPECT_FALSE(manager.hears("WATCHDOG=1", kLong));
    ASSERT_EQ(kill(server, SIGCONT), 0);
    EXPECT_TRUE(manager.hears("WATCHDOG=1"));
    EXPECT_EQ(mount.server_pid(), server);
  }
}

TEST_F(ServiceTest, AStoppedServerIsReplacedAndItsClientsGoOn) {
  Mount mount(settings({"recover=on", "replace_after=1"}));
  ASSERT_TRUE(mount.ok());
  const pid_t server = mount.server_pid();
  stop_process(server);
  EXPECT_EQ(mkdir(mount.mnt("d").c_str(), 0755), 0) << errno_name(errno);
  EXPECT_NE(mount.server_pid(), server);
  EXPECT_NE(mount.log().find("has given no sign of life"), std::string::npos) << mount.log();
}

TEST_F(ServiceTest, TheManagerIsToldOfAnotherServer) {
  NotifySocket manager(tree_ / "notify");
  // The manager's period is the shorter one.
  Mount mount(settings({"recover=on"}, &manager, "2000000"));
  ASSERT_TRUE(mount.ok());
  EXPECT_TRUE(manager.hears("READY=1"));
  stop_process(mount.server_pid());
  EXPECT_TRUE(manager.hears("server number 2"));
  EXPECT_EQ(manager.sender(), mount.pid());
  EXPECT_TRUE(manager.hears("WATCHDOG=1"));
  write_file(mount.mnt("f"), "served");
  EXPECT_EQ(read_file(mount.source("f")), "served");
}

// A manager that is busy does not read, and then it must not be waited for.
TEST_F(ServiceTest, AServerThatDiesIsReplacedAtOnceWhateverTheManagerDoes) {
  NotifySocket manager(tree_ / "notify");
  Mount mount(settings({"recover=on"}, &manager));
  ASSERT_TRUE(mount.ok());
  manager.fill();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(kill(mount.server_pid(), SIGKILL), 0);
    EXPECT_EQ(mkdir(mount.mnt("d" + std::to_string(i)).c_str(), 0755), 0) << errno_name(errno);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(4));
  manager.forget();
}

// All of it stops: nobody has seen a silence. So it is with a machine that sleeps.
TEST_F(ServiceTest, APauseOfBothIsNoSilence) {
  Mount mount(settings({"recover=on", "replace_after=1"}));
  ASSERT_TRUE(mount.ok());
  const pid_t server = mount.server_pid();
  stop_process(mount.pid());
  stop_process(server);
  const auto until = std::chrono::steady_clock::now() + kLong;
  EXPECT_TRUE(wait_until([&] { return std::chrono::steady_clock::now() > until; }));
  ASSERT_EQ(kill(mount.pid(), SIGCONT), 0);
  ASSERT_EQ(kill(server, SIGCONT), 0);
  EXPECT_FALSE(wait_until(kLong, [&] { return mount.server_pid() != server; })) << mount.log();
}

// SIGKILL is for later, when the disk answers. Nothing is lost by then.
TEST_F(ServiceTest, AStoppedServerThatWaitsForTheDiskIsReplacedWhenThatAnswers) {
  FrozenSource source;
  if (!source.ok()) GTEST_SKIP() << "no loop image can be mounted";
  MountSettings with_disk = settings({"recover=on", "replace_after=1"});
  with_disk.source = source.path();
  Mount mount(with_disk);
  ASSERT_TRUE(mount.ok());
  const pid_t server = mount.server_pid();
  source.freeze();
  std::thread client([&] { EXPECT_EQ(mkdir(mount.mnt("d").c_str(), 0755), 0); });
  EXPECT_TRUE(wait_until([&] { return waits_for_disk(server, SYS_mkdirat); }));
  ASSERT_EQ(kill(server, SIGSTOP), 0);
  EXPECT_TRUE(wait_until([&] {
    return mount.log().find("does not end: a thread of it waits for the disk") != std::string::npos;
  })) << mount.log();
  source.thaw();
  client.join();
  EXPECT_NE(mount.server_pid(), server);
}

TEST_F(ServiceTest, AServerThatADebuggerHasIsLeftAlone) {
  Mount mount(settings({"recover=on", "replace_after=1"}));
  ASSERT_TRUE(mount.ok());
  const pid_t server = mount.server_pid();
  std::vector<pid_t> threads;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(server) + "/task")) {
    threads.push_back(std::stoi(task.path().filename()));
  }
  for (const pid_t thread : threads) {
    ASSERT_EQ(ptrace(PTRACE_SEIZE, thread, 0, 0), 0) << errno_name(errno);
    ASSERT_EQ(ptrace(PTRACE_INTERRUPT, thread, 0, 0), 0);
    int status = 0;
    ASSERT_EQ(waitpid(thread, &status, __WALL), thread);
  }
  EXPECT_TRUE(wait_until([&] {
    return mount.log().find("a debugger has it") != std::string::npos;
  })) << mount.log();
  for (const pid_t thread : threads) EXPECT_EQ(ptrace(PTRACE_DETACH, thread, 0, 0), 0);
  write_file(mount.mnt("f"), "served");
  EXPECT_EQ(mount.server_pid(), server);
}

}  // namespace
}  // namespace passthroughfs::test
