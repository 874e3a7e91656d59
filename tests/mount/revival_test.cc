// SPDX-License-Identifier: Apache-2.0
//
// All processes of a mount are killed at once, and the service manager, which is the test, starts
// the program again with the descriptors that it was given to keep.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "lock_actor.h"
#include "revival_fixture.h"
#include "support/loop_image.h"
#include "support/small_source.h"
#include "support/told_changes.h"

namespace passthroughfs::test {
namespace {

class RevivalTest : public RevivalFixture {
 protected:
  std::unique_ptr<LoopImage> disk_;
};

// All of the same length.
std::string fmt_number(std::uint64_t number) {
  std::string digits = std::to_string(number);
  return std::string(9 - digits.size(), '0') + digits + "\n";
}

TEST_F(RevivalTest, NamesAndOpenFilesGoOn) {
  for (const char* io : {"io=daemon", "io=passthrough"}) {
    SCOPED_TRACE(io);
    start({io});
    ASSERT_EQ(mkdir(mnt("d").c_str(), 0755), 0);
    write_file(mnt("d/other"), "other");
    UniqueFd file = open_file(mnt("d/f"));
    UniqueFd reader = open_file(mnt("d/other"), O_RDONLY);
    UniqueFd directory = open_file(mnt("d"), O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(put(file.get(), "before"));
    for (int round = 1; round <= 2; ++round) {
      kill_and_start_again();
      EXPECT_EQ(read_at_start(file.get()), round == 1 ? "before" : "after1");
      EXPECT_TRUE(put(file.get(), "after" + std::to_string(round))) << errno_name(errno);
      EXPECT_EQ(ftruncate(file.get(), 6), 0) << errno_name(errno);
      EXPECT_EQ(fsync(file.get()), 0) << errno_name(errno);
      EXPECT_EQ(read_file(source("d/f")), "after" + std::to_string(round));
      EXPECT_EQ(read_at_start(reader.get()), "other");
      EXPECT_EQ(try_openat(directory.get(), "other", O_RDONLY), 0) << errno_name(errno);
      EXPECT_EQ(read_file(mnt("d/other")), "other");
      struct stat before {
      }, now{};
      EXPECT_EQ(fstat(file.get(), &before), 0);
      EXPECT_EQ(stat(mnt("d/f").c_str(), &now), 0);
      EXPECT_EQ(before.st_ino, now.st_ino);
      const Json numbers = stats();
      EXPECT_EQ(numbers.value("revivals", 0), round);
      EXPECT_EQ(numbers.value("lost_files", -1), 0);
      EXPECT_EQ(numbers.value("lost_inodes", -1), 0);
      EXPECT_EQ(numbers.value("handles", 0), 3);
      EXPECT_TRUE(numbers.value("kept_by_manager", false));
    }
    EXPECT_NE(mount().log().find("all processes of this mount were gone: 0 of 3 open files"),
              std::string::npos)
        << mount().log();
    for (UniqueFd* fd : {&file, &reader, &directory}) fd->reset();
    end();
  }
}

TEST_F(RevivalTest, AfterAnUpgradeItIsKeptStill) {
  start({"io=daemon"});
  const UniqueFd file = open_file(mnt("f"));
  ASSERT_TRUE(put(file.get(), "before"));
  const ProgramResult upgraded = mount().command({"upgrade", mount().mnt()});
  ASSERT_EQ(upgraded.exit_code, 0) << upgraded.err;
  write_file(mnt("new"), "new");
  kill_and_start_again();
  EXPECT_EQ(read_at_start(file.get()), "before");
  EXPECT_EQ(read_file(mnt("new")), "new");
  const Json numbers = stats();
  EXPECT_EQ(numbers.value("upgrades", 0), 1);
  EXPECT_EQ(numbers.value("revivals", 0), 1);
  EXPECT_EQ(numbers.value("lost_inodes", -1), 0);
}

// The kernel keeps its own open file of each, and asks nobody.
TEST_F(RevivalTest, FilesInPassthroughDoNotNotice) {
  start({"io=passthrough"});
  const UniqueFd file = open_file(mnt("f"));
  const UniqueFd nameless = open_file(mnt("g"));
  ASSERT_TRUE(put(file.get(), "before"));
  ASSERT_TRUE(put(nameless.get(), "nameless"));
  ASSERT_EQ(unlink(mnt("g").c_str()), 0);
  settle();
  kill_all();
  EXPECT_EQ(read_at_start(file.get()), "before") << "with nobody there";
  EXPECT_TRUE(put(file.get(), "during"));
  EXPECT_EQ(read_at_start(nameless.get()), "nameless");
  start_again();
  EXPECT_EQ(read_file(mnt("f")), "during");
  // The backing file that was registered then serves new opens, too: another one would be refused.
  const UniqueFd again = open_file(mnt("f"), O_RDWR);
  EXPECT_TRUE(put(again.get(), "after!"));
  EXPECT_EQ(read_at_start(file.get()), "after!");
  EXPECT_EQ(read_at_start(nameless.get()), "nameless");
  struct stat st {};
  EXPECT_EQ(fstat(nameless.get(), &st), 0) << errno_name(errno);
  EXPECT_EQ(ftruncate(nameless.get(), 4), 0) << errno_name(errno);
  EXPECT_EQ(read_at_start(nameless.get()), "name");
  EXPECT_EQ(stats().value("lost_files", -1), 0);
}

TEST_F(RevivalTest, AFileWithoutANameIsGoneAndNothingElse) {
  start({"io=daemon"});
  const UniqueFd file = open_file(mnt("f"));
  ASSERT_TRUE(put(file.get(), "secret"));
  ASSERT_EQ(unlink(mnt("f").c_str()), 0);
  write_file(mnt("f"), "another");
  kill_and_start_again();
  EXPECT_EQ(read_at_start(file.get()), "ESTALE");
  EXPECT_FALSE(put(file.get(), "overwritten"));
  EXPECT_EQ(errno, ESTALE);
  EXPECT_EQ(ftruncate(file.get(), 0), -1);
  EXPECT_EQ(read_file(mnt("f")), "another");
  EXPECT_EQ(read_file(source("f")), "another");
  EXPECT_EQ(stats().value("lost_files", 0), 1);
  EXPECT_NE(mount().log().find("1 of 1 open files are lost"), std::string::npos) << mount().log();
}

// On the source, while nobody is there: the same name, and the same number.
TEST_F(RevivalTest, AFileThatWasReplacedIsNotTakenForTheOneBefore) {
  // Without a journal ext4 uses a number again at once.
  disk_ = std::make_unique<LoopImage>(
      16 << 20, std::vector<std::string>{"mkfs.ext4", "-q", "-F", "-O", "^has_journal"});
  if (!disk_->ok()) GTEST_SKIP() << disk_->why();
  start({"io=daemon", "cache=none"}, disk_->path());
  const UniqueFd file = open_file(mnt("f"));
  const UniqueFd renamed = open_file(mnt("g"));
  ASSERT_TRUE(put(file.get(), "old f"));
  ASSERT_TRUE(put(renamed.get(), "old g"));
  const auto number_of = [](const std::string& path) {
    struct stat st {};
    EXPECT_EQ(stat(path.c_str(), &st), 0) << path;
    return st.st_ino;
  };
  const ino_t number = number_of(source("f"));
  settle();
  kill_all();
  ASSERT_EQ(unlink(source("f").c_str()), 0);
  ASSERT_EQ(rename(source("g").c_str(), source("h").c_str()), 0);
  write_file(source("new"), "new");
  ASSERT_EQ(number_of(source("new")), number);
  write_file(source("f"), "new f");
  write_file(source("g"), "new g");
  start_again();
  EXPECT_EQ(read_at_start(file.get()), "ESTALE");
  EXPECT_FALSE(put(file.get(), "overwritten"));
  EXPECT_EQ(read_at_start(renamed.get()), "old g");
  EXPECT_TRUE(put(renamed.get(), "OLD G"));
  EXPECT_EQ(read_file(mnt("h")), "OLD G");
  EXPECT_EQ(read_file(mnt("g")), "new g");
  EXPECT_EQ(read_file(mnt("f")), "new f");
  EXPECT_EQ(read_file(mnt("new")), "new");
  EXPECT_EQ(read_at_start(file.get()), "ESTALE") << "with the other one known, too";
  EXPECT_EQ(stats().value("lost_files", 0), 1);
}

// A mount below the source is found again if it is there, and another one in its place is not it.
TEST_F(RevivalTest, MountsBelowTheSourceAreFoundAgain) {
  const std::string top = tree_.make_dir("top");
  for (const char* name : {"a", "b"}) {
    ASSERT_EQ(mkdir((top + "/" + name).c_str(), 0755), 0);
    ASSERT_EQ(::mount("none", (top + "/" + name).c_str(), "tmpfs", 0, nullptr), 0);
    write_file(top + "/" + name + "/f", name);
  }
  start({"io=daemon", "cache=none"}, top);
  const UniqueFd stays = open_file(mnt("a/f"), O_RDONLY);
  const UniqueFd goes = open_file(mnt("b/f"), O_RDONLY);
  settle();
  kill_all();
  ASSERT_EQ(umount2((top + "/b").c_str(), 0), 0);
  ASSERT_EQ(::mount("none", (top + "/b").c_str(), "tmpfs", 0, nullptr), 0);
  write_file(top + "/b/f", "other");
  start_again();
  EXPECT_EQ(read_at_start(stays.get()), "a");
  EXPECT_EQ(read_at_start(goes.get()), "ESTALE");
  EXPECT_EQ(read_file(mnt("b/f")), "other");
  EXPECT_EQ(read_file(mnt("a/f")), "a");
}

// Whatever was not known for long enough to be found again.
TEST_F(RevivalTest, WhatIsLostIsAnErrorAndCounted) {
  start({"io=daemon"});
  std::vector<UniqueFd> files;
  for (int i = 0; i < 50; ++i) {
    files.push_back(open_file(mnt(std::to_string(i))));
    ASSERT_TRUE(put(files.back().get(), "content " + std::to_string(i)));
  }
  kill_all();
  start_again();
  int lost = 0;
  for (int i = 0; i < 50; ++i) {
    const std::string content = "content " + std::to_string(i);
    const std::string found = read_at_start(files[static_cast<std::size_t>(i)].get());
    lost += found == "ESTALE" ? 1 : 0;
    EXPECT_TRUE(found == content || found == "ESTALE") << found;
    EXPECT_EQ(read_file(mnt(std::to_string(i))), content) << "a name is never lost";
    write_file(mnt(std::to_string(i)), "new");
    EXPECT_EQ(read_file(source(std::to_string(i))), "new");
  }
  EXPECT_EQ(stats().value("lost_files", -1), lost);
  EXPECT_GT(lost, 0) << "the machine was too slow for this to say anything";
}

// Each call has the one result that it must have, whatever happens meanwhile.
// The kernel believes what it knows for ever, and what it was not told waits.
TEST_F(RevivalTest, WhatOthersChangeWhileNobodyIsThereIsSeen) {
  const SmallSource small("size=4m");  // tmpfs can be watched on every machine
  start({"cache=coherent"}, small.path());
  ASSERT_EQ(stats().value("cache", ""), "coherent");
  write_file(source("f"), "content");
  const auto mode = [&] {
    struct stat st {};
    return ::stat(mnt("f").c_str(), &st) == 0 ? st.st_mode & 0777U : 0;
  };
  EXPECT_TRUE(wait_until([&] { return mode() == 0644; }));
  for (int death = 0; death < 2; ++death) {
    const std::string absent = "absent" + std::to_string(death);
    EXPECT_LT(access(mnt(absent).c_str(), F_OK), 0);
    settle();
    kill_all();
    write_file(source(absent), "");
    ASSERT_EQ(chmod(source("f").c_str(), death == 0 ? 0600 : 0640), 0);
    start_again();
    EXPECT_TRUE(wait_until([&] { return access(mnt(absent).c_str(), F_OK) == 0; }));
    EXPECT_TRUE(wait_until([&] { return mode() == (death == 0 ? 0600 : 0640); }));
    EXPECT_EQ(stats().value("cache", ""), "coherent");
  }
}

TEST_F(RevivalTest, RequestsThatWereOnTheirWayEnd) {
  start({"io=daemon"});
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> rounds{0};
  std::vector<std::thread> clients;
  std::mutex mutex;
  std::vector<std::string> failures;
  const auto expect = [&](bool good, const std::string& what) {
    if (good) return;
    const int error = errno;
    const std::lock_guard<std::mutex> lock(mutex);
    failures.push_back(what + ": " + errno_name(error));
  };
  for (int client = 0; client < 3; ++client) {
    ASSERT_EQ(mkdir(mnt("c" + std::to_string(client)).c_str(), 0755), 0);
  }
  settle();
  for (int client = 0; client < 3; ++client) {
    clients.emplace_back([&, client] {
      const std::string base = mnt("c" + std::to_string(client));
      for (int i = 0; !stop.load(); ++i) {
        const std::string name = base + "/" + std::to_string(i);
        expect(mkdir(name.c_str(), 0755) == 0, "mkdir");
        expect(rename(name.c_str(), (name + "r").c_str()) == 0, "rename");
        expect(symlink("x", (name + "s").c_str()) == 0, "symlink");
        expect(unlink((name + "s").c_str()) == 0, "unlink");
        struct stat st {};
        expect(stat((name + "r").c_str(), &st) == 0, "stat");
        expect(rmdir((name + "r").c_str()) == 0, "rmdir");
        const int made = open((name + "f").c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
        expect(made >= 0, "create");
        if (made >= 0) close(made);
        rounds.fetch_add(1);
      }
    });
  }
  for (int death = 1; death <= 5; ++death) {
    const std::uint64_t before = rounds.load();
    EXPECT_TRUE(wait_until([&] { return rounds.load() > before + 20; }));
    kill_all();
    start_again();
  }
  const std::uint64_t before = rounds.load();
  EXPECT_TRUE(wait_until([&] { return rounds.load() > before + 20; }));
  stop.store(true);
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(failures.empty()) << failures.size() << ", the first: " << failures.front() << '\n'
                                << mount().log();
}

// Each write is carried out, and once.
TEST_F(RevivalTest, WritersInTheMiddleGoOn) {
  for (const char* io : {"io=daemon", "io=auto"}) {
    SCOPED_TRACE(io);
    start({io});
    std::atomic<bool> stop{false};
    std::vector<std::thread> clients;
    std::array<std::string, 4> failures;
    std::array<std::atomic<std::uint64_t>, 4> rounds{};
    std::array<UniqueFd, 4> files;
    for (std::size_t i = 0; i < files.size(); ++i) {
      files[i] = open_file(mnt(std::to_string(i)), O_RDWR | O_CREAT |
                                                       (i % 2 == 0 ? O_APPEND
                                                        : i == 3   ? O_SYNC
                                                                   : 0));
    }
    settle();
    for (std::size_t i = 0; i < files.size(); ++i) {
      clients.emplace_back([&, i] {
        while (!stop.load() && failures[i].empty()) {
          const std::string line = fmt_number(rounds[i]);
          const ssize_t put = i % 2 == 0 ? write(files[i].get(), line.data(), line.size())
                                         : pwrite(files[i].get(), line.data(), line.size(),
                                                  static_cast<off_t>(rounds[i] * line.size()));
          if (put != static_cast<ssize_t>(line.size())) failures[i] = errno_name(errno);
          ++rounds[i];
        }
      });
    }
    // Each of them, the one that waits for the disk too: a request that met three deaths as soon as
    // it was begun is taken for what brought them, and gets EIO.
    const auto all_go_on = [&] {
      for (const auto& count : rounds) {
        const std::uint64_t before = count.load();
        EXPECT_TRUE(wait_until([&] { return count.load() > before + 20; }));
      }
    };
    for (int death = 1; death <= 5; ++death) {
      all_go_on();
      kill_all();
      start_again();
    }
    all_go_on();
    stop.store(true);
    for (std::thread& client : clients) client.join();
    for (std::size_t i = 0; i < files.size(); ++i) {
      EXPECT_EQ(failures[i], "") << i;
      std::string expected;
      for (std::uint64_t round = 0; round < rounds[i]; ++round) expected += fmt_number(round);
      EXPECT_TRUE(read_file(source(std::to_string(i))) == expected) << i;
      files[i].reset();
    }
    EXPECT_EQ(stats().value("lost_files", -1), 0);
    end();
  }
}

TEST_F(RevivalTest, ChangesAreToldOnce) {
  for (const std::string journal : {"memory", "file"}) {
    for (const char* io : {"io=daemon", "io=passthrough"}) {
      SCOPED_TRACE(journal + " " + io);
      const TempTree tree;
      start({io}, {}, journal == "file" ? tree / "j" : journal);
      write_file(mnt("before"), "1");
      write_file(mnt("open"), "1");
      write_file(mnt("same"), "1");
      const std::string since = checkpoint(mount());
      UniqueFd written = open_file(mnt("open"), O_RDWR);
      UniqueFd unwritten = open_file(mnt("same"), O_RDWR);
      write_file(mnt("a"), "1");
      ASSERT_EQ(rename(mnt("before").c_str(), mnt("after").c_str()), 0);
      kill_and_start_again();
      EXPECT_TRUE(put(written.get(), "22"));
      write_file(mnt("b"), "1");
      kill_and_start_again();
      Changes told = dirty(mount(), since);
      told.erase(".");
      std::string paths;
      for (const auto& [path, kinds] : told) paths += path + " ";
      EXPECT_EQ(paths, "a after b open ") << mount().log();
      written.reset();
      unwritten.reset();
      end();
    }
  }
}

TEST_F(RevivalTest, LocksAreTakenAgain) {
  start({"io=daemon", "locks=source"});
  write_file(mnt("f"), "content");
  write_file(mnt("g"), "content");
  Actor one(mnt("f")), two(mnt("f")), flocks(mnt("g"));
  const UniqueFd other = open_file(mnt("g"), O_RDWR);
  EXPECT_EQ(one.lock(F_SETLK, F_WRLCK, 0, 10), "ok");
  EXPECT_EQ(one.lock(F_SETLK, F_RDLCK, 100, 10), "ok");
  EXPECT_EQ(flocks.flock(LOCK_EX), "ok");
  kill_and_start_again();
  EXPECT_EQ(two.lock(F_SETLK, F_WRLCK, 5, 1), "EAGAIN");
  EXPECT_EQ(two.lock(F_SETLK, F_WRLCK, 105, 1), "EAGAIN");
  EXPECT_EQ(two.lock(F_SETLK, F_RDLCK, 105, 1), "ok");
  EXPECT_EQ(two.lock(F_SETLK, F_WRLCK, 50, 1), "ok");
  EXPECT_EQ(flock(other.get(), LOCK_EX | LOCK_NB), -1);
  const UniqueFd behind = open_file(source("g"), O_RDWR);
  EXPECT_EQ(flock(behind.get(), LOCK_EX | LOCK_NB), -1) << "the source has it";
  EXPECT_EQ(stats().value("lost_locks", -1), 0);
  EXPECT_EQ(one.lock(F_SETLK, F_UNLCK, 0, 0), "ok");
  EXPECT_EQ(two.lock(F_SETLK, F_WRLCK, 5, 1), "ok");
}

TEST_F(RevivalTest, WhoHasLostALockIsTold) {
  start({"io=daemon", "locks=source"});
  write_file(mnt("f"), "content");
  write_file(mnt("g"), "content");
  const UniqueFd posix = open_file(mnt("f"), O_RDWR);
  const UniqueFd whole = open_file(mnt("g"), O_RDWR);
  const UniqueFd bystander = open_file(mnt("g"), O_RDONLY);
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_len = 10;
  ASSERT_EQ(fcntl(posix.get(), F_OFD_SETLK, &range), 0);
  ASSERT_EQ(flock(whole.get(), LOCK_EX | LOCK_NB), 0);
  settle();
  kill_all();
  const UniqueFd faster = open_file(source("f"), O_RDWR);
  ASSERT_EQ(fcntl(faster.get(), F_OFD_SETLK, &range), 0) << "nobody had it";
  const UniqueFd faster_too = open_file(source("g"), O_RDWR);
  ASSERT_EQ(flock(faster_too.get(), LOCK_EX | LOCK_NB), 0);
  start_again();
  EXPECT_FALSE(put(posix.get(), "unlocked"));
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(read_at_start(whole.get()), "EIO");
  EXPECT_EQ(ftruncate(whole.get(), 0), -1);
  EXPECT_EQ(read_at_start(bystander.get()), "content") << "it had none";
  EXPECT_EQ(read_file(source("f")), "content");
  const Json numbers = stats();
  EXPECT_EQ(numbers.value("lost_locks", 0), 2);
  EXPECT_EQ(numbers.value("lost_files", 0), 2);
  EXPECT_EQ(read_file(mnt("f")), "content") << "others can open it";
}

}  // namespace
}  // namespace passthroughfs::test
