// SPDX-License-Identifier: Apache-2.0
//
// The process that serves dies, and nobody who uses the mount notices more than a pause. The long
// random proof is tests/conformance/crashtest.py; here is what each part of it rests on.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/json.h"
#include "support/mount_fixture.h"
#include "support/stop_process.h"
#include "support/told_changes.h"

namespace passthroughfs::test {
namespace {

class RecoveryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
  }
};

MountSettings dying(std::vector<std::string> options = {},
                    std::vector<std::string> environment = {}) {
  options.emplace_back("recover=on");
  // A process that is killed while it waits for a busy disk is gone when that has answered. So only
  // the tests of the journal have one.
  if (std::none_of(options.begin(), options.end(),
                   [](const std::string& option) { return option.starts_with("journal="); })) {
    options.emplace_back("journal=off");
  }
  return {
      .options = std::move(options), .environment = std::move(environment), .server_dies = true};
}

std::uint64_t starts(const Mount& mount) { return stats(mount).value("server_starts", 0U); }

// Ends the server, and waits until another one serves.
void kill_server(const Mount& mount, int signal = SIGKILL) {
  const Json before = stats(mount);
  const auto server = before.value("server_pid", 0);
  ASSERT_GT(server, 0);
  ASSERT_NE(server, mount.pid()) << "the guardian does not serve itself";
  ASSERT_EQ(kill(server, signal), 0);
  const auto wanted = before.value("server_starts", 0U) + 1;
  ASSERT_TRUE(wait_until([&] { return starts(mount) >= wanted; })) << mount.log();
}

std::string read_at(int fd, off_t at) {
  std::array<char, 64> buffer{};
  const ssize_t got = pread(fd, buffer.data(), buffer.size(), at);
  return got < 0 ? errno_name(errno) : std::string(buffer.data(), static_cast<std::size_t>(got));
}

TEST_F(RecoveryTest, IsOnByDefaultAndSaysSo) {
  Mount mount;
  ASSERT_TRUE(mount.ok());
  const Json json = stats(mount);
  EXPECT_EQ(json.value("recover", ""), "on");
  EXPECT_EQ(json.value("guardian_pid", 0), mount.pid());
  EXPECT_EQ(json.value("server_starts", 0), 1);
  Mount without({.options = {"recover=off"}});
  EXPECT_EQ(stats(without).value("recover", ""), "off");
}

// A sanitizer would take them for mistakes of the program.
std::vector<std::string> without_signals_of_sanitizers() {
  std::vector<std::string> environment;
  for (const std::string name : {"ASAN_OPTIONS", "TSAN_OPTIONS"}) {
    const char* const set = getenv(name.c_str());
    environment.push_back(name + "=" + (set == nullptr ? "" : set) +
                          ":handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigill=0");
  }
  return environment;
}

TEST_F(RecoveryTest, EverySignalThatEndsTheServerBringsAnother) {
  Mount mount(dying({}, without_signals_of_sanitizers()));
  ASSERT_TRUE(mount.ok());
  for (const int signal : {SIGKILL, SIGSEGV, SIGABRT, SIGBUS, SIGILL}) {
    kill_server(mount, signal);
    write_file(mount.mnt("f"), std::to_string(signal));
    EXPECT_EQ(read_file(mount.source("f")), std::to_string(signal));
  }
}

TEST_F(RecoveryTest, OpenFilesGoOnWhateverBecameOfTheirNames) {
  for (const char* io : {"io=passthrough", "io=daemon"}) {
    Mount mount(dying({io}));
    ASSERT_TRUE(mount.ok());
    const UniqueFd renamed(
        open(mount.mnt("a").c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    const UniqueFd removed(
        open(mount.mnt("b").c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    const UniqueFd log(
        open(mount.mnt("log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    const UniqueFd nameless(open(mount.mnt().c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
    ASSERT_TRUE(renamed.valid() && removed.valid() && log.valid() && nameless.valid());
    ASSERT_EQ(write(removed.get(), "gone", 4), 4);
    ASSERT_EQ(write(nameless.get(), "none", 4), 4);
    ASSERT_EQ(rename(mount.mnt("a").c_str(), mount.mnt("c").c_str()), 0);
    ASSERT_EQ(unlink(mount.mnt("b").c_str()), 0);
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(write(log.get(), "x", 1), 1);
      kill_server(mount);
      EXPECT_EQ(pwrite(renamed.get(), "kept", 4, 0), 4);
    }
    EXPECT_EQ(read_file(mount.source("c")), "kept");
    EXPECT_EQ(read_file(mount.source("log")), "xxx");
    EXPECT_EQ(read_at(removed.get(), 0), "gone");
    EXPECT_EQ(read_at(nameless.get(), 0), "none");
    struct stat st {};
    EXPECT_EQ(fstat(removed.get(), &st), 0);
    EXPECT_EQ(st.st_nlink, 0U);
    EXPECT_EQ(ftruncate(renamed.get(), 2), 0);
    EXPECT_EQ(read_file(mount.source("c")), "ke");
  }
}

TEST_F(RecoveryTest, InodeNumbersStayAndNamesAreKnown) {
  Mount mount(dying());
  ASSERT_TRUE(mount.ok());
  make_dir(mount.mnt("d"));
  write_file(mount.mnt("d/f"), "1");
  const UniqueFd directory(open(mount.mnt("d").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat before {};
  ASSERT_EQ(stat(mount.mnt("d/f").c_str(), &before), 0);
  kill_server(mount);
  struct stat after {};
  ASSERT_EQ(fstatat(directory.get(), "f", &after, 0), 0);
  EXPECT_EQ(after.st_ino, before.st_ino);
}

TEST_F(RecoveryTest, AListingThatIsHalfReadGoesOn) {
  Mount mount(dying());
  ASSERT_TRUE(mount.ok());
  constexpr int kFiles = 3000;
  for (int i = 0; i < kFiles; ++i) write_file(mount.source("f" + std::to_string(i)), "");
  DIR* const listing = opendir(mount.mnt().c_str());
  ASSERT_NE(listing, nullptr);
  std::multiset<std::string> seen;
  for (int i = 0; const dirent* entry = readdir(listing); ++i) {
    seen.insert(entry->d_name);
    if (i == 100 || i == 1500) kill_server(mount);
  }
  closedir(listing);
  EXPECT_EQ(seen.size(), kFiles + 2U);
  for (int i = 0; i < kFiles; ++i) EXPECT_EQ(seen.count("f" + std::to_string(i)), 1U) << i;
}

TEST_F(RecoveryTest, LocksAreHeldAndWaitedForOverADeath) {
  Mount mount(dying());
  ASSERT_TRUE(mount.ok());
  write_file(mount.mnt("f"), "0123456789");
  const auto open_file = [&] { return UniqueFd(open(mount.mnt("f").c_str(), O_RDWR | O_CLOEXEC)); };
  const UniqueFd holder = open_file();
  const UniqueFd other = open_file();
  const UniqueFd whole = open_file();
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = 2;
  lock.l_len = 3;
  ASSERT_EQ(fcntl(holder.get(), F_OFD_SETLK, &lock), 0);
  ASSERT_EQ(flock(whole.get(), LOCK_EX), 0);
  std::atomic<bool> granted{false};
  std::thread waiter([&, wanted = lock]() mutable {
    if (fcntl(other.get(), F_OFD_SETLKW, &wanted) == 0) granted = true;
  });
  EXPECT_TRUE(wait_until([&] { return stats(mount).value("lock_waiters", 0) == 1; }));
  kill_server(mount);
  EXPECT_TRUE(wait_until([&] { return stats(mount).value("lock_waiters", 0) == 1; }));
  EXPECT_FALSE(granted);
  const UniqueFd behind(open(mount.source("f").c_str(), O_RDWR | O_CLOEXEC));
  struct flock asked = lock;
  EXPECT_EQ(fcntl(behind.get(), F_OFD_SETLK, &asked), -1) << "the source's lock is gone";
  EXPECT_EQ(flock(behind.get(), LOCK_EX | LOCK_NB), -1);
  lock.l_type = F_UNLCK;
  EXPECT_EQ(fcntl(holder.get(), F_OFD_SETLK, &lock), 0);
  waiter.join();
  EXPECT_TRUE(granted);
}

// One operation that must not run twice: what it makes, and how to see that it was done once.
struct Once {
  const char* name;
  std::function<void(const std::string&)> prepare;  // below the given directory
  std::function<int(const std::string&)> run;       // 0, or -1 and errno
  std::function<bool(const std::string&)> is_done;
};

bool exists(const std::string& path) {
  struct stat st {};
  return lstat(path.c_str(), &st) == 0;
}

std::vector<Once> operations() {
  const auto nothing = [](const std::string&) {};
  return {
      {"mkdir", nothing, [](auto& d) { return mkdir((d + "/x").c_str(), 0755); },
       [](auto& d) { return exists(d + "/x"); }},
      {"create", nothing,
       [](auto& d) { return try_open(d + "/x", O_CREAT | O_EXCL | O_WRONLY, 0); },
       [](auto& d) { return exists(d + "/x"); }},
      {"mknod", nothing, [](auto& d) { return mkfifo((d + "/x").c_str(), 0600); },
       [](auto& d) { return exists(d + "/x"); }},
      {"symlink", nothing, [](auto& d) { return symlink("to", (d + "/x").c_str()); },
       [](auto& d) { return exists(d + "/x"); }},
      {"link", [](auto& d) { write_file(d + "/a", "1"); },
       [](auto& d) { return link((d + "/a").c_str(), (d + "/x").c_str()); },
       [](auto& d) { return read_file(d + "/x") == "1"; }},
      {"unlink", [](auto& d) { write_file(d + "/x", "1"); },
       [](auto& d) { return unlink((d + "/x").c_str()); },
       [](auto& d) { return !exists(d + "/x"); }},
      {"rmdir", [](auto& d) { make_dir(d + "/x"); },
       [](auto& d) { return rmdir((d + "/x").c_str()); },
       [](auto& d) { return !exists(d + "/x"); }},
      {"rename", [](auto& d) { write_file(d + "/a", "1"); },
       [](auto& d) { return rename((d + "/a").c_str(), (d + "/x").c_str()); },
       [](auto& d) { return !exists(d + "/a") && read_file(d + "/x") == "1"; }},
      {"exchange",
       [](auto& d) {
         write_file(d + "/a", "1");
         write_file(d + "/x", "2");
       },
       [](auto& d) {
         return renameat2(AT_FDCWD, (d + "/a").c_str(), AT_FDCWD, (d + "/x").c_str(),
                          RENAME_EXCHANGE);
       },
       [](auto& d) { return read_file(d + "/a") == "2" && read_file(d + "/x") == "1"; }},
      {"append", [](auto& d) { write_file(d + "/a", "1"); },
       [](auto& d) {
         const UniqueFd fd(open((d + "/a").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
         return fd.valid() && write(fd.get(), "23", 2) == 2 ? 0 : -1;
       },
       [](auto& d) { return read_file(d + "/a") == "123"; }},
      {"truncate", [](auto& d) { write_file(d + "/a", "123"); },
       [](auto& d) { return truncate((d + "/a").c_str(), 1); },
       [](auto& d) { return read_file(d + "/a") == "1"; }},
      {"setxattr", [](auto& d) { write_file(d + "/a", ""); },
       [](auto& d) { return setxattr((d + "/a").c_str(), "user.x", "1", 1, XATTR_CREATE); },
       [](auto& d) { return getxattr((d + "/a").c_str(), "user.x", nullptr, 0) == 1; }},
      {"removexattr",
       [](auto& d) {
         write_file(d + "/a", "");
         EXPECT_EQ(setxattr((d + "/a").c_str(), "user.x", "1", 1, 0), 0);
       },
       [](auto& d) { return removexattr((d + "/a").c_str(), "user.x"); },
       [](auto& d) { return getxattr((d + "/a").c_str(), "user.x", nullptr, 0) == -1; }},
  };
}

// The server dies before, in the middle of, and after each of them.
class OnceTest : public RecoveryTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(OnceTest, IsDoneOnceAndSaysSo) {
  for (const char* io : {"io=passthrough", "io=daemon"}) {
    for (const Once& once : operations()) {
      SCOPED_TRACE(std::string(once.name) + " " + io);
      Mount mount(dying({io}, {std::string("PFS_FAULT=") + GetParam()}));
      ASSERT_TRUE(mount.ok());
      make_dir(mount.source("d"), 0777);
      once.prepare(mount.source("d"));
      errno = 0;
      EXPECT_EQ(once.run(mount.mnt("d")), 0) << errno_name(errno);
      EXPECT_TRUE(once.is_done(mount.source("d")));
      EXPECT_TRUE(wait_until([&] { return starts(mount) >= 2; })) << "the fault did not come";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AtEachPoint, OnceTest,
                         ::testing::Values("intent", "done", "noted", "replied"),
                         [](const auto& tested) { return std::string(tested.param); });

TEST_F(RecoveryTest, ARepeatedRequestThatHadNothingToDoSaysSo) {
  for (const char* point : {"PFS_FAULT=intent", "PFS_FAULT=done"}) {
    Mount mount(dying({}, {point}));
    ASSERT_TRUE(mount.ok());
    write_file(mount.source("f"), "");
    ASSERT_EQ(setxattr(mount.source("f").c_str(), "user.there", "1", 1, 0), 0);
    // Changes of the source from now on are later than the file's times.
    struct stat st {};
    ASSERT_EQ(stat(mount.source("f").c_str(), &st), 0);
    ASSERT_TRUE(wait_until([&] {
      timespec now{};
      clock_gettime(CLOCK_REALTIME_COARSE, &now);
      return now.tv_sec > st.st_ctim.tv_sec || now.tv_nsec > st.st_ctim.tv_nsec;
    }));
    EXPECT_EQ(removexattr(mount.mnt("f").c_str(), "user.none"), -1);
    EXPECT_EQ(errno_name(errno), "ENODATA") << point;
    EXPECT_TRUE(wait_until([&] { return starts(mount) >= 2; })) << "the fault did not come";
    EXPECT_EQ(setxattr(mount.mnt("f").c_str(), "user.there", "1", 1, XATTR_CREATE), -1);
    EXPECT_EQ(errno_name(errno), "EEXIST") << point;
  }
}

TEST_F(RecoveryTest, ARequestThatEndsEveryServerGetsEIO) {
  Mount mount(dying({}, {"PFS_FAULT=intent:1*"}));
  ASSERT_TRUE(mount.ok());
  EXPECT_EQ(mkdir(mount.mnt("d").c_str(), 0755), -1);
  EXPECT_EQ(errno_name(errno), "EIO");
  EXPECT_NE(mount.log().find("MKDIR"), std::string::npos) << "the report names it";
  EXPECT_TRUE(exists(mount.mnt())) << "others are served";
}

TEST_F(RecoveryTest, AMountThatNoServerCanServeIsTakenAwayAndSaysWhy) {
  MountSettings settings = dying({}, {"PFS_FAULT=recover:1*"});
  settings.broken_on_purpose = true;  // it ends by itself, and not well
  Mount mount(settings);
  ASSERT_TRUE(mount.ok());
  write_file(mount.source("f"), "kept");
  ASSERT_EQ(kill(mount.server_pid(), SIGKILL), 0);
  const std::optional<int> code = mount.wait_for_exit();
  ASSERT_TRUE(code.has_value()) << mount.log();
  EXPECT_GT(*code, 0);
  EXPECT_NE(mount.log().find("no server can live"), std::string::npos) << mount.log();
  EXPECT_EQ(try_open(mount.mnt("f"), O_RDONLY), -1);
  EXPECT_EQ(errno_name(errno), "ENOENT") << "the mount is gone";
  EXPECT_EQ(read_file(mount.source("f")), "kept");
}

TEST_F(RecoveryTest, NothingIsLeftBehindByManyDeaths) {
  Mount mount(dying());
  ASSERT_TRUE(mount.ok());
  make_dir(mount.mnt("d"));
  const auto round = [&](int i) {
    const std::string name = mount.mnt("d/f" + std::to_string(i % 7));
    write_file(name, "x");
    (void)exists(name + "x");
    for (DIR* listing = opendir(mount.mnt("d").c_str()); listing != nullptr; listing = nullptr) {
      while (readdir(listing) != nullptr) {
      }
      closedir(listing);
    }
    unlink(name.c_str());
  };
  round(0);
  kill_server(mount);
  const std::size_t descriptors = mount.descriptors();
  std::atomic<bool> stop{false};
  std::atomic<int> rounds{0};
  std::thread client([&] {
    for (; !stop; ++rounds) round(rounds);
  });
  for (int i = 0; i < 40; ++i) {
    const int before = rounds;
    // Not so soon that the guardian takes it for one that cannot live.
    EXPECT_TRUE(wait_until([&] { return rounds > before + 30; }));
    kill_server(mount);
  }
  stop = true;
  client.join();
  EXPECT_TRUE(wait_until([&] {
    const Json json = stats(mount);
    return json.value("handles", 99) == 0 && json.value("inodes", 99) <= 2;
  })) << to_text(stats(mount));
  EXPECT_TRUE(wait_until([&] { return mount.descriptors() <= descriptors + 1; }))
      << mount.descriptors() << " instead of " << descriptors;
}

TEST_F(RecoveryTest, ChangesAreToldOnceOverADeath) {
  for (const char* journal : {"journal=memory", "journal="}) {
    const TempTree tree;
    std::string option = journal;
    if (option == "journal=") option += tree / "j";
    Mount mount(dying({option}));
    ASSERT_TRUE(mount.ok());
    write_file(mount.mnt("before"), "1");
    write_file(mount.mnt("open"), "1");
    const std::string since = checkpoint(mount);
    const UniqueFd fd(open(mount.mnt("open").c_str(), O_RDWR | O_CLOEXEC));
    write_file(mount.mnt("a"), "1");
    ASSERT_EQ(rename(mount.mnt("before").c_str(), mount.mnt("after").c_str()), 0);
    kill_server(mount);
    ASSERT_EQ(pwrite(fd.get(), "22", 2, 0), 2);
    write_file(mount.mnt("b"), "1");
    kill_server(mount);
    Changes told = dirty(mount, since);
    told.erase(".");
    std::string paths;
    for (const auto& [path, kinds] : told) paths += path + " ";
    EXPECT_EQ(paths, "a after b open ");
    // And without a token: since the mount was made, not since the last server was.
    const ProgramResult all = mount.command({"dirty", mount.mnt()});
    EXPECT_NE(all.out.find("created\tafter"), std::string::npos) << all.out;
  }
}

TEST_F(RecoveryTest, TheMountEndsInOrderAfterADeath) {
  Mount mount(dying());
  ASSERT_TRUE(mount.ok());
  kill_server(mount);
  ASSERT_EQ(kill(mount.pid(), SIGTERM), 0);
  const std::optional<int> code = mount.wait_for_exit();
  ASSERT_TRUE(code.has_value());
  EXPECT_EQ(*code, 0);
}

// The journal's directory in memory, which outlives each process of a mount, but not all of them.
std::string directory_in_memory(pid_t process) {
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/fd")) {
    std::error_code gone;
    const std::string path = std::filesystem::read_symlink(entry.path(), gone);
    if (path.starts_with("/dev/shm/passthroughfs") && std::filesystem::is_directory(path)) {
      return path;
    }
  }
  return {};
}

TEST_F(RecoveryTest, NothingIsLeftInMemoryWhenAllAreKilled) {
  MountSettings settings = dying({"journal=memory"});
  settings.broken_on_purpose = true;
  Mount mount(settings);
  ASSERT_TRUE(mount.ok());
  kill_server(mount);
  const std::string directory = directory_in_memory(mount.pid());
  ASSERT_NE(directory, "");
  const Mount other;  // leaves alone what is in use
  ASSERT_TRUE(other.ok());
  EXPECT_TRUE(std::filesystem::exists(directory + "/journal"));
  mount.kill_all();
  const Mount next;
  ASSERT_TRUE(next.ok());
  // By this mount, or by another that begins just now.
  EXPECT_TRUE(wait_until([&] { return !std::filesystem::exists(directory); }));
}

TEST_F(RecoveryTest, NothingIsLeftInMemoryByADeputy) {
  MountSettings settings = dying({"journal=memory"});
  settings.broken_on_purpose = true;
  Mount mount(settings);
  ASSERT_TRUE(mount.ok());
  pid_t deputy = 0;
  ASSERT_TRUE(wait_until([&] { return (deputy = stats(mount).value("deputy_pid", 0)) > 0; }));
  const std::string directory = directory_in_memory(mount.pid());
  ASSERT_NE(directory, "");
  ASSERT_EQ(kill(mount.pid(), SIGKILL), 0);
  ASSERT_TRUE(wait_until([&] { return stats(mount).value("guardian_pid", 0) == deputy; }));
  EXPECT_EQ(mount.command({"umount", mount.mnt()}).exit_code, 0);
  EXPECT_TRUE(wait_until([&] { return kill(deputy, 0) != 0; }));
  EXPECT_FALSE(std::filesystem::exists(directory));
}

TEST_F(RecoveryTest, WithoutGuardianAndDeputyTheServerGoesOnAndSaysSo) {
  MountSettings settings = dying();
  settings.broken_on_purpose = true;
  Mount mount(settings);
  ASSERT_TRUE(mount.ok());
  ASSERT_TRUE(wait_until([&] { return stats(mount).value("deputy_pid", 0) > 0; }));
  const auto deputy = stats(mount).value("deputy_pid", 0);
  stop_process(mount.pid());  // or it would start another one
  ASSERT_EQ(kill(deputy, SIGKILL), 0);
  ASSERT_EQ(kill(mount.pid(), SIGKILL), 0);
  (void)mount.wait_for_exit();
  write_file(mount.mnt("f"), "1");
  EXPECT_EQ(read_file(mount.source("f")), "1");
  // The deputy is gone when its last parent has taken note of it.
  EXPECT_TRUE(wait_until(
      [&] { return to_text(stats(mount)).find("the guardian is gone") != std::string::npos; }));
}

}  // namespace
}  // namespace passthroughfs::test
