// SPDX-License-Identifier: Apache-2.0
//
// Another program takes over a mount that is in use (`passthroughfs upgrade`), and another process
// the guardian's work when that is killed.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "embed/upgrade.h"
#include "mount/notify_socket.h"
#include "passthroughfs/client.h"
#include "support/json.h"
#include "support/mount_fixture.h"
#include "support/stop_process.h"
#include "support/told_changes.h"

namespace passthroughfs::test {
namespace {

class UpgradeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
  }

  // The program under test as another file, so that it can be told which one runs.
  static std::string copy_of_program(const Mount& mount, const std::string& name) {
    std::string copy = mount.tree() / name;
    std::filesystem::copy_file(program_path(), copy);
    return copy;
  }
  static std::string running(const Mount& mount) {
    return std::filesystem::read_symlink("/proc/" + std::to_string(mount.pid()) + "/exe").string();
  }
  // For the client in this process.
  static void find_sockets_of(const Mount& mount) {
    for (const std::string& entry : mount.environment()) {
      const std::size_t equals = entry.find('=');
      setenv(entry.substr(0, equals).c_str(), entry.substr(equals + 1).c_str(), 1);
    }
  }
  static void upgrade(const Mount& mount, const std::string& program) {
    const ProgramResult result = mount.command({"upgrade", mount.mnt()}, program);
    ASSERT_EQ(result.exit_code, 0) << result.err << mount.log();
    ASSERT_EQ(running(mount), program);
  }
  // The process in which the guardian tries this program; 0: it does not.
  static pid_t on_trial(pid_t guardian, const std::string& program) {
    const std::string task =
        "/proc/" + std::to_string(guardian) + "/task/" + std::to_string(guardian);
    std::istringstream children(read_all(task + "/children"));
    for (pid_t child = 0; children >> child;) {
      if (runs(child, program)) return child;
    }
    return 0;
  }
  static bool runs(pid_t process, const std::string& program) {
    std::error_code gone;
    return std::filesystem::read_symlink("/proc/" + std::to_string(process) + "/exe", gone) ==
           program;
  }
};

TEST_F(UpgradeTest, WhatIsOpenGoesOnUnderAnotherProgram) {
  for (const char* io : {"io=passthrough", "io=daemon"}) {
    Mount mount({.options = {io, "recover=on"}});
    ASSERT_TRUE(mount.ok());
    const UniqueFd removed(open(mount.mnt("gone").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    const UniqueFd log(
        open(mount.mnt("log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    const UniqueFd locked(open(mount.mnt("locked").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    ASSERT_TRUE(removed.valid() && log.valid() && locked.valid());
    ASSERT_EQ(write(removed.get(), "still", 5), 5);
    ASSERT_EQ(unlink(mount.mnt("gone").c_str()), 0);
    ASSERT_EQ(write(log.get(), "1", 1), 1);
    ASSERT_EQ(flock(locked.get(), LOCK_EX), 0);
    struct stat before {};
    ASSERT_EQ(fstat(locked.get(), &before), 0);
    const Json handles_before = parse_json(mount.command({"handles", mount.mnt(), "--json"}).out);

    upgrade(mount, copy_of_program(mount, "other"));
    EXPECT_EQ(stats(mount).value("upgrades", 0), 1);

    std::string text(5, '\0');
    EXPECT_EQ(pread(removed.get(), text.data(), text.size(), 0), 5);
    EXPECT_EQ(text, "still");
    EXPECT_EQ(ftruncate(removed.get(), 2), 0);
    EXPECT_EQ(write(log.get(), "2", 1), 1);
    EXPECT_EQ(read_file(mount.source("log")), "12");
    struct stat after {};
    ASSERT_EQ(stat(mount.mnt("locked").c_str(), &after), 0);
    EXPECT_EQ(after.st_ino, before.st_ino);
    const UniqueFd behind(open(mount.source("locked").c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_EQ(flock(behind.get(), LOCK_EX | LOCK_NB), -1) << "the lock is gone";
    ASSERT_EQ(flock(locked.get(), LOCK_UN), 0);
    EXPECT_EQ(flock(behind.get(), LOCK_EX | LOCK_NB), 0) << "nobody can unlock it any more";
    const Json handles_after = parse_json(mount.command({"handles", mount.mnt(), "--json"}).out);
    ASSERT_EQ(handles_after.size(), handles_before.size());
    for (std::size_t i = 0; i < handles_before.size(); ++i) {
      EXPECT_EQ(handles_after[i]["fh"], handles_before[i]["fh"]);
    }
  }
}

TEST_F(UpgradeTest, AServerOfTheNewProgramThatDiesIsReplacedByAnother) {
  Mount mount({.options = {"recover=on", "journal=off"}, .server_dies = true});
  ASSERT_TRUE(mount.ok());
  const UniqueFd file(open(mount.mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  upgrade(mount, copy_of_program(mount, "other"));
  const Json before = stats(mount);
  ASSERT_EQ(kill(before.value("server_pid", 0), SIGKILL), 0);
  ASSERT_TRUE(wait_until([&] {
    return stats(mount).value("server_starts", 0) == before.value("server_starts", 0) + 1;
  }));
  EXPECT_EQ(ftruncate(file.get(), 7), 0);
  EXPECT_EQ(std::filesystem::file_size(mount.source("f")), 7U);
}

TEST_F(UpgradeTest, ALoadThatRunsSeesAPauseAndNoError) {
  Mount mount({.options = {"recover=on"}});
  ASSERT_TRUE(mount.ok());
  const std::string first = copy_of_program(mount, "first");
  const std::string second = copy_of_program(mount, "second");
  std::atomic<bool> over{false};
  std::atomic<int> rounds{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&, i] {
      const std::string dir = mount.mnt("d" + std::to_string(i));
      int appended = 0;
      make_dir(dir);
      const UniqueFd log(
          open((dir + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
      while (!over) {
        EXPECT_EQ(try_open(dir + "/a", O_CREAT | O_EXCL | O_WRONLY), 0);
        EXPECT_EQ(rename((dir + "/a").c_str(), (dir + "/b").c_str()), 0) << errno_name(errno);
        EXPECT_EQ(write(log.get(), "x", 1), 1) << errno_name(errno);
        ++appended;
        EXPECT_EQ(unlink((dir + "/b").c_str()), 0) << errno_name(errno);
        EXPECT_EQ(mkdir((dir + "/c").c_str(), 0755), 0) << errno_name(errno);
        EXPECT_EQ(rmdir((dir + "/c").c_str()), 0) << errno_name(errno);
        ++rounds;
        if (::testing::Test::HasFailure()) break;
      }
      EXPECT_EQ(std::filesystem::file_size(mount.source("d" + std::to_string(i)) + "/log"),
                static_cast<std::uintmax_t>(appended));
    });
  }
  for (int i = 0; i < 6; ++i) {
    const int before = rounds;
    upgrade(mount, i % 2 == 0 ? first : second);
    EXPECT_TRUE(wait_until([&] { return rounds > before + 3 || HasFailure(); }));
  }
  over = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(stats(mount).value("upgrades", 0), 6);
}

TEST_F(UpgradeTest, DescriptorsDoNotGatherOverUpgrades) {
  Mount mount({.options = {"recover=on"}});
  ASSERT_TRUE(mount.ok());
  write_file(mount.mnt("f"), "1");
  const std::string first = copy_of_program(mount, "first");
  const std::string second = copy_of_program(mount, "second");
  upgrade(mount, first);
  upgrade(mount, second);
  const std::size_t before = mount.descriptors();
  for (int i = 0; i < 6; ++i) upgrade(mount, i % 2 == 0 ? first : second);
  EXPECT_TRUE(wait_until([&] { return mount.descriptors() <= before + 1; }))
      << mount.descriptors() << " after " << before;
}

TEST_F(UpgradeTest, TokensAndTheRecordOfChangesGoOn) {
  Mount mount({.options = {"recover=on"}});
  ASSERT_TRUE(mount.ok());
  const std::string token = checkpoint(mount);
  write_file(mount.mnt("before"), "1");
  const UniqueFd open_file(open(mount.mnt("open").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  upgrade(mount, copy_of_program(mount, "other"));
  write_file(mount.mnt("after"), "1");
  ASSERT_EQ(write(open_file.get(), "x", 1), 1);
  EXPECT_EQ(dirty(mount, token),
            (Changes{{"before", "created"}, {"open", "created"}, {"after", "created"}}));
}

TEST_F(UpgradeTest, AnotherLayoutIsRefusedBeforeAnythingStops) {
  Mount mount({.options = {"recover=on"}});
  ASSERT_TRUE(mount.ok());
  const pid_t server = mount.server_pid();
  find_sockets_of(mount);
  auto client = Client::connect(mount.mnt());
  ASSERT_TRUE(client) << client.error().message;
  const UniqueFd program(open(program_path().c_str(), O_RDONLY | O_CLOEXEC));
  const auto refused = client->upgrade(program.get(), "of another version");
  ASSERT_FALSE(refused);
  EXPECT_EQ(errno_name(refused.error().code), "EPROTO");
  EXPECT_NE(refused.error().message.find("of another version"), std::string::npos);
  EXPECT_EQ(mount.server_pid(), server);
  EXPECT_EQ(stats(mount).value("server_starts", 0), 1);
}

TEST_F(UpgradeTest, AProgramThatCannotIsRefusedBeforeAnythingStops) {
  Mount mount({.options = {"recover=on"}});
  ASSERT_TRUE(mount.ok());
  const pid_t server = mount.server_pid();
  find_sockets_of(mount);
  const std::string layout = program_layout();
  write_file(mount.tree() / "text", "no program", 0755);
  for (const std::string& path :
       {std::string("/bin/true"), std::string("/bin/false"), mount.tree() / std::string("text")}) {
    SCOPED_TRACE(path);
    auto client = Client::connect(mount.mnt());
    ASSERT_TRUE(client) << client.error().message;
    const UniqueFd program(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const auto refused = client->upgrade(program.get(), layout);
    ASSERT_FALSE(refused);
    EXPECT_EQ(errno_name(refused.error().code), "ENOEXEC") << refused.error().message;
    EXPECT_EQ(mount.server_pid(), server);
    EXPECT_EQ(stats(mount).value("server_starts", 0), 1);
  }
  upgrade(mount, copy_of_program(mount, "other"));  // and that is no obstacle for another one
}

TEST_F(UpgradeTest, ANewProgramThatCannotServeGivesWayToTheOneBefore) {
  Mount mount({.options = {"recover=on", "journal=off"},
               .environment = {"PFS_FAULT=upgrade:1*"},
               .server_dies = true});
  ASSERT_TRUE(mount.ok());
  const UniqueFd file(open(mount.mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  const std::string before = running(mount);
  const ProgramResult result =
      mount.command({"upgrade", mount.mnt()}, copy_of_program(mount, "other"));
  EXPECT_EQ(result.exit_code, 1) << result.out;
  EXPECT_NE(result.err.find("dies before it serves"), std::string::npos) << result.err;
  EXPECT_EQ(running(mount), before);
  EXPECT_EQ(ftruncate(file.get(), 7), 0);
  EXPECT_EQ(std::filesystem::file_size(mount.source("f")), 7U);
  const Json now = stats(mount);
  EXPECT_EQ(now.value("upgrades", 1), 0);
  EXPECT_NE(now.value("upgrade_failure", "").find("dies before"), std::string::npos);
}

TEST_F(UpgradeTest, WhoWaitsForALockGetsItFromTheNewProgram) {
  Mount mount({.options = {"recover=on", "journal=off"}});
  ASSERT_TRUE(mount.ok());
  write_file(mount.mnt("f"), "");
  const UniqueFd holder(open(mount.mnt("f").c_str(), O_RDWR | O_CLOEXEC));
  const UniqueFd other(open(mount.mnt("f").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(flock(holder.get(), LOCK_EX), 0);
  std::atomic<bool> granted{false};
  std::thread waiter([&] { granted = flock(other.get(), LOCK_EX) == 0; });
  EXPECT_TRUE(wait_until([&] { return stats(mount).value("lock_waiters", 0) == 1; }));
  upgrade(mount, copy_of_program(mount, "other"));
  EXPECT_TRUE(wait_until([&] { return stats(mount).value("lock_waiters", 0) == 1; }));
  EXPECT_FALSE(granted);
  EXPECT_EQ(flock(holder.get(), LOCK_UN), 0);
  waiter.join();
  EXPECT_TRUE(granted);
}

// The guardian asks a program that says nothing, for ten seconds; a server that dies then must not
// wait for the end of that.
TEST_F(UpgradeTest, AServerThatDiesWhileAProgramIsOnTrialIsReplacedAtOnce) {
  Mount mount({.options = {"recover=on", "journal=off"}, .server_dies = true});
  ASSERT_TRUE(mount.ok());
  find_sockets_of(mount);
  const pid_t server = mount.server_pid();
  auto client = Client::connect(mount.mnt());
  ASSERT_TRUE(client) << client.error().message;
  const UniqueFd program(open(PFS_NEVER_ANSWERS, O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(program.valid());
  std::thread asker([&] {
    const auto refused = client->upgrade(program.get(), program_layout());
    ASSERT_FALSE(refused);
    EXPECT_EQ(errno_name(refused.error().code), "ECANCELED") << refused.error().message;
  });
  const auto tried = [&] { return on_trial(mount.pid(), PFS_NEVER_ANSWERS) != 0; };
  EXPECT_TRUE(wait_until(tried));
  ASSERT_EQ(kill(server, SIGKILL), 0);
  // By /proc: a command would wait for an answer of the one that is gone.
  EXPECT_TRUE(wait_until(std::chrono::seconds(8), [&] {
    const pid_t now = mount.server_pid();
    return now != server && now != mount.pid();
  }));
  EXPECT_FALSE(tried());
  asker.join();
}

// Or the manager would end all of it, because nobody says that it lives.
TEST_F(UpgradeTest, TheServiceManagerIsPingedWhileAProgramIsOnTrial) {
  const TempTree tree;
  NotifySocket manager(tree / "notify");
  Mount mount({.options = {"recover=on", "journal=off"},
               .environment = {manager.variable(), "WATCHDOG_USEC=2000000", "FDSTORE=0"}});
  ASSERT_TRUE(mount.ok());
  find_sockets_of(mount);
  auto client = Client::connect(mount.mnt());
  ASSERT_TRUE(client) << client.error().message;
  const UniqueFd program(open(PFS_NEVER_ANSWERS, O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(program.valid());
  std::thread asker([&] { EXPECT_FALSE(client->upgrade(program.get(), program_layout())); });
  pid_t tried = 0;
  EXPECT_TRUE(wait_until([&] { return (tried = on_trial(mount.pid(), PFS_NEVER_ANSWERS)) != 0; }));
  manager.forget();
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(manager.hears("WATCHDOG=1", std::chrono::seconds(2)));
  EXPECT_TRUE(runs(tried, PFS_NEVER_ANSWERS));
  if (tried != 0) kill(tried, SIGKILL);
  asker.join();
}

// What a guardian has been told is lost with its program, and the server that it told ends for the
// other program's sake.
TEST_F(UpgradeTest, WhoEndsTheMountWhileAProgramIsOnTrialIsHeard) {
  const TempTree tree;
  const std::string go = tree / "go";
  Mount mount({.options = {"recover=on", "journal=off"},
               .environment = {"PFS_TEST_GO=" + go, "PFS_TEST_PROGRAM=" + program_path()}});
  ASSERT_TRUE(mount.ok());
  // Or the server would be quick to unmount.
  const UniqueFd in_use(open(mount.mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  find_sockets_of(mount);
  auto client = Client::connect(mount.mnt());
  ASSERT_TRUE(client) << client.error().message;
  const UniqueFd program(open(PFS_WAITS_FIRST, O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(program.valid());
  // It may come about or not.
  std::thread asker([&] { (void)client->upgrade(program.get(), program_layout()); });
  EXPECT_TRUE(wait_until([&] { return on_trial(mount.pid(), PFS_WAITS_FIRST) != 0; }));
  EXPECT_EQ(kill(mount.pid(), SIGTERM), 0);
  write_file(go, "");
  EXPECT_EQ(mount.wait_for_exit(), 0) << mount.log();
  asker.join();
}

TEST_F(UpgradeTest, WithoutRecoveryItSaysThatItCannot) {
  Mount mount({.options = {"recover=off"}});
  ASSERT_TRUE(mount.ok());
  const ProgramResult result = mount.command({"upgrade", mount.mnt()});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find("recover=on"), std::string::npos) << result.err;
}

// ---- the guardian dies --------------------------------------------------------------------------

class DeputyTest : public UpgradeTest {
 protected:
  // Kills who is named so in `stats`, and waits until another has taken its place.
  static void kill_and_wait(const Mount& mount, const char* who) {
    const auto before = stats(mount).value(who, 0);
    ASSERT_GT(before, 0) << who;
    ASSERT_EQ(kill(before, SIGKILL), 0);
    ASSERT_TRUE(wait_until([&] {
      const auto now = stats(mount).value(who, 0);
      return now > 0 && now != before;
    })) << who
        << mount.log();
  }
};

TEST_F(DeputyTest, TakesTheGuardiansPlaceAgainAndAgain) {
  Mount mount(
      {.options = {"recover=on", "journal=off"}, .server_dies = true, .broken_on_purpose = true});
  ASSERT_TRUE(mount.ok());
  ASSERT_TRUE(wait_until([&] { return stats(mount).value("deputy_pid", 0) > 0; }));
  UniqueFd file(open(mount.mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  for (int i = 1; i <= 3; ++i) {
    kill_and_wait(mount, "guardian_pid");
    EXPECT_EQ(to_text(stats(mount).value("notes", Json::array())).find("guardian"),
              std::string::npos);
    kill_and_wait(mount, "server_pid");
    kill_and_wait(mount, "deputy_pid");
    ASSERT_EQ(ftruncate(file.get(), i), 0) << errno_name(errno);
    EXPECT_EQ(std::filesystem::file_size(mount.source("f")), static_cast<std::uintmax_t>(i));
  }
  // All of them end with the mount.
  const Json last = stats(mount);
  file.reset();
  EXPECT_EQ(mount.command({"umount", mount.mnt()}).exit_code, 0);
  for (const char* who : {"guardian_pid", "deputy_pid", "server_pid"}) {
    const auto pid = last.value(who, 0);
    EXPECT_TRUE(wait_until([&] { return kill(pid, 0) != 0; })) << who;
  }
}

// Each guardian has descriptors of its own beside those that all share.
TEST_F(DeputyTest, LeavesAloneWhatItsPredecessorsHadOpen) {
  Mount mount({.options = {"recover=on", "journal=off", "io=daemon"},
               .server_dies = true,
               .broken_on_purpose = true});
  ASSERT_TRUE(mount.ok());
  ASSERT_TRUE(wait_until([&] { return stats(mount).value("deputy_pid", 0) > 0; }));
  kill_and_wait(mount, "guardian_pid");
  kill_and_wait(mount, "server_pid");
  constexpr std::size_t kFiles = 40;  // one of them gets the number that was that guardian's
  std::vector<UniqueFd> files;
  for (std::size_t i = 0; i < kFiles; ++i) {
    write_file(mount.source("f" + std::to_string(i)), std::to_string(i));
    files.emplace_back(open(mount.mnt("f" + std::to_string(i)).c_str(), O_RDONLY | O_CLOEXEC));
  }
  kill_and_wait(mount, "guardian_pid");
  for (std::size_t i = 0; i < kFiles; ++i) {
    std::string text(9, '\0');
    const ssize_t got = pread(files[i].get(), text.data(), text.size(), 0);
    ASSERT_GE(got, 0) << i << ": " << errno_name(errno);
    EXPECT_EQ(text.substr(0, static_cast<std::size_t>(got)), std::to_string(i));
    struct stat st {};
    EXPECT_EQ(fstat(files[i].get(), &st), 0) << errno_name(errno);
    EXPECT_EQ(try_open(mount.mnt("f" + std::to_string(i)), O_RDONLY), 0) << errno_name(errno);
  }
  files.clear();
  EXPECT_EQ(mount.command({"umount", mount.mnt()}).exit_code, 0);
}

TEST_F(DeputyTest, StartsAServerIfThatWasKilledWithTheGuardian) {
  Mount mount(
      {.options = {"recover=on", "journal=off"}, .server_dies = true, .broken_on_purpose = true});
  ASSERT_TRUE(mount.ok());
  ASSERT_TRUE(wait_until([&] { return stats(mount).value("deputy_pid", 0) > 0; }));
  // Who is left without a parent becomes this process's, so that the server is gone for good before
  // the deputy looks.
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  UniqueFd file(open(mount.mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  const Json before = stats(mount);
  const auto deputy = before.value("deputy_pid", 0), server = before.value("server_pid", 0);
  stop_process(deputy);
  stop_process(mount.pid());
  ASSERT_EQ(kill(server, SIGKILL), 0);
  ASSERT_EQ(kill(mount.pid(), SIGKILL), 0);
  (void)mount.wait_for_exit();
  ASSERT_EQ(waitpid(server, nullptr, 0), server) << errno_name(errno);
  ASSERT_EQ(kill(deputy, SIGCONT), 0);
  EXPECT_EQ(ftruncate(file.get(), 7), 0) << errno_name(errno);
  EXPECT_EQ(std::filesystem::file_size(mount.source("f")), 7U);
  EXPECT_EQ(stats(mount).value("guardian_pid", 0), deputy);
  file.reset();
  EXPECT_EQ(mount.command({"umount", mount.mnt()}).exit_code, 0);
  EXPECT_EQ(waitpid(deputy, nullptr, 0), deputy) << errno_name(errno);
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

// It has the connection to the kernel open, so a mount would never end.
TEST_F(DeputyTest, AProgramOnTrialEndsWithItsGuardian) {
  Mount mount(
      {.options = {"recover=on", "journal=off"}, .server_dies = true, .broken_on_purpose = true});
  ASSERT_TRUE(mount.ok());
  ASSERT_TRUE(wait_until([&] { return stats(mount).value("deputy_pid", 0) > 0; }));
  const pid_t guardian = mount.pid();
  const pid_t deputy = stats(mount).value("deputy_pid", 0);
  find_sockets_of(mount);
  auto client = Client::connect(mount.mnt());
  ASSERT_TRUE(client) << client.error().message;
  const UniqueFd program(open(PFS_NEVER_ANSWERS, O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(program.valid());
  std::thread asker([&] {
    const auto refused = client->upgrade(program.get(), program_layout());
    ASSERT_FALSE(refused);
    EXPECT_EQ(errno_name(refused.error().code), "ENOEXEC") << refused.error().message;
  });
  pid_t first = 0, second = 0;
  EXPECT_TRUE(wait_until([&] { return (first = on_trial(guardian, PFS_NEVER_ANSWERS)) != 0; }));
  stop_process(deputy);
  EXPECT_EQ(kill(guardian, SIGKILL), 0);
  (void)mount.wait_for_exit();
  EXPECT_TRUE(wait_until([&] { return !runs(first, PFS_NEVER_ANSWERS); }));
  // The deputy is asked the same, however late it comes.
  EXPECT_EQ(stats(mount).dump().find("the guardian is gone"), std::string::npos);
  EXPECT_EQ(kill(deputy, SIGCONT), 0);
  EXPECT_TRUE(wait_until([&] { return (second = on_trial(deputy, PFS_NEVER_ANSWERS)) != 0; }));
  if (runs(first, PFS_NEVER_ANSWERS)) kill(first, SIGKILL);
  if (second != 0) kill(second, SIGKILL);
  asker.join();
  EXPECT_EQ(mount.command({"umount", mount.mnt()}).exit_code, 0);
  EXPECT_TRUE(wait_until([&] { return kill(deputy, 0) != 0; }));
}

TEST_F(DeputyTest, LetsAnotherProgramTakeOver) {
  Mount mount(
      {.options = {"recover=on", "journal=off"}, .server_dies = true, .broken_on_purpose = true});
  ASSERT_TRUE(mount.ok());
  ASSERT_TRUE(wait_until([&] { return stats(mount).value("deputy_pid", 0) > 0; }));
  write_file(mount.mnt("f"), "1");
  kill_and_wait(mount, "guardian_pid");
  const std::string copy = copy_of_program(mount, "other");
  const ProgramResult result = mount.command({"upgrade", mount.mnt()}, copy);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto guardian = stats(mount).value("guardian_pid", 0);
  EXPECT_EQ(std::filesystem::read_symlink("/proc/" + std::to_string(guardian) + "/exe"), copy);
  EXPECT_EQ(read_file(mount.mnt("f")), "1");
  EXPECT_EQ(mount.command({"umount", mount.mnt()}).exit_code, 0);
}

}  // namespace
}  // namespace passthroughfs::test
