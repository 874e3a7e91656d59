// SPDX-License-Identifier: Apache-2.0
//
// FUSE over io_uring: who gets it, and that nothing waits for what it does not need. What the mount
// does otherwise is the subject of the other tests, which run over both transports.
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "frozen_source.h"
#include "lock_actor.h"
#include "support/loop_image.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  ASSERT_EQ(sched_setaffinity(0, sizeof set, &set), 0);
}

std::string transport_line(const Mount& mount) { return mount.command({"stats", mount.mnt()}).out; }

class UringTest : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
    const std::string why = enable_fuse_over_uring();
    if (!why.empty()) GTEST_SKIP() << why;
  }
};

TEST_F(UringTest, IsTakenWhenAskedForAndByItself) {
  for (const char* option : {"transport=uring", "transport=auto"}) {
    Mount mount({.options = {option, "recover=off"}});
    ASSERT_TRUE(mount.ok());
    EXPECT_NE(transport_line(mount).find("transport uring"), std::string::npos) << option;
    write_file(mount.mnt("f"), "content");
    EXPECT_EQ(read_file(mount.source("f")), "content");
  }
}

TEST_F(UringTest, IsNotTakenWhenTheDeviceIsAskedFor) {
  Mount mount({.options = {"transport=dev"}});
  ASSERT_TRUE(mount.ok());
  const std::string stats = transport_line(mount);
  EXPECT_NE(stats.find("transport dev"), std::string::npos) << stats;
  EXPECT_EQ(stats.find("note:"), std::string::npos) << stats;
}

// A process that may not use every CPU cannot have a thread on each.
TEST_F(UringTest, FallsBackAndSaysWhy) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  if (CPU_COUNT(&before) < 2) GTEST_SKIP() << "needs two CPUs";
  pin_to(sched_getcpu());
  Mount mount({.options = {"transport=uring"}});
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
  ASSERT_TRUE(mount.ok());
  const std::string stats = transport_line(mount);
  EXPECT_NE(stats.find("transport dev"), std::string::npos) << stats;
  EXPECT_NE(stats.find("may not use every CPU"), std::string::npos) << stats;
  EXPECT_NE(mount.log().find("may not use every CPU"), std::string::npos) << mount.log();
  write_file(mount.mnt("f"), "content");
  EXPECT_EQ(read_file(mount.source("f")), "content");
}

// A control group of its own for one process, where the kernel tells how long its members waited
// for input or output ("pressure").
class PressureGroup {
 public:
  explicit PressureGroup(pid_t pid) {
    std::ifstream mounts("/proc/self/mounts");
    std::string device, where, kind, rest;
    while (mounts >> device >> where >> kind && std::getline(mounts, rest)) {
      if (kind != "cgroup2") continue;
      path_ = where + "/passthroughfs-test." + std::to_string(pid);
      if (mkdir(path_.c_str(), 0755) != 0) break;
      made_ = true;
      std::ofstream(path_ + "/cgroup.procs") << pid << std::flush;
      return;
    }
  }
  ~PressureGroup() {
    if (made_) (void)wait_until([&] { return rmdir(path_.c_str()) == 0; });
  }
  PressureGroup(const PressureGroup&) = delete;
  PressureGroup& operator=(const PressureGroup&) = delete;

  // Microseconds in which any of them waited; nothing where the kernel does not tell.
  std::optional<std::uint64_t> waited() const {
    std::ifstream pressure(path_ + "/io.pressure");
    for (std::string word; pressure >> word;) {
      if (word.starts_with("total=")) return std::stoull(word.substr(6));
    }
    return std::nullopt;
  }

 private:
  std::string path_;
  bool made_ = false;
};

// A thread that waits for requests has nothing to do, and is not "waiting for input or output".
TEST_F(UringTest, AnIdleMountIsIdle) {
  io_uring_params ring{};
  const UniqueFd probe(static_cast<int>(syscall(SYS_io_uring_setup, 1, &ring)));
  if ((ring.features & (1U << 17)) == 0) GTEST_SKIP() << "needs IORING_FEAT_NO_IOWAIT (Linux 6.15)";
  Mount mount({.options = {"transport=uring", "cache=none"}, .medium = TempTree::Medium::kMemory});
  ASSERT_TRUE(mount.ok());
  const PressureGroup group(mount.pid());
  if (!group.waited()) GTEST_SKIP() << "no cgroup2 with io.pressure";
  const auto begin = std::chrono::steady_clock::now();
  const std::uint64_t before = *group.waited();
  struct stat st {};
  for (int i = 0; i < 3000; ++i) ASSERT_EQ(stat(mount.mnt().c_str(), &st), 0);
  const std::uint64_t waited = *group.waited() - before;
  const auto passed = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - begin);
  EXPECT_LT(waited, static_cast<std::uint64_t>(passed.count()) / 2);
  mount.stop();
}

// Writers that are stuck in the source, all on one CPU, and what others on this CPU still can do.
class StuckTest : public UringTest {
 protected:
  void SetUp() override {
    UringTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    source_ = std::make_unique<FrozenSource>();
    if (!source_->ok()) GTEST_SKIP() << "cannot make a file system on a loop device";
    write_file(source_->path() + "/f", "content");
    mount_ = std::make_unique<Mount>(MountSettings{
        .options = {"transport=uring", "io=daemon", "cache=none"}, .source = source_->path()});
    ASSERT_TRUE(mount_->ok());
    for (int i = 0; i < kMost; ++i) write_file(mnt(i), "");
    source_->freeze();
  }
  void TearDown() override {
    if (source_) source_->thaw();
    writers_.clear();
    mount_.reset();
    source_.reset();
  }
  std::string mnt(int number) const { return mount_->mnt("w" + std::to_string(number)); }

  void write_on_cpu(int cpu, int count, int flags) {
    for (int i = 0; i < count; ++i) {
      const auto number = static_cast<int>(writers_.size());
      writers_.push_back(std::make_unique<Child>([this, cpu, number, flags] {
        pin_to(cpu);
        const UniqueFd fd(open(mnt(number).c_str(), O_WRONLY | O_CLOEXEC | flags));
        ASSERT_EQ(pwrite(fd.get(), "x", 1, 0), 1);
      }));
    }
    for (const auto& writer : writers_) {
      ASSERT_TRUE(wait_until([&] { return writer->sleeps_in(SYS_pwrite64); }));
    }
  }
  // From the same CPU, and long enough for requests to meet every state of its queue.
  void others_get_on(int cpu) {
    Child other([this, cpu] {
      pin_to(cpu);
      for (int i = 0; i < 200; ++i) {
        struct stat st {};
        ASSERT_EQ(stat(mount_->mnt("f").c_str(), &st), 0);
        ASSERT_EQ(read_file(mount_->mnt("f")), "content");
      }
    });
    ASSERT_TRUE(other.join());
  }
  void all_end() {
    source_->thaw();
    for (std::size_t i = 0; i < writers_.size(); ++i) {
      ASSERT_TRUE(writers_[i]->join());
      EXPECT_EQ(read_file(mnt(static_cast<int>(i))), "x");
    }
    writers_.clear();
  }

  static constexpr int kMost = 60;
  std::unique_ptr<FrozenSource> source_;
  std::unique_ptr<Mount> mount_;
  std::vector<std::unique_ptr<Child>> writers_;
};

// Many more than a queue has entries.
TEST_F(StuckTest, CallsThatMayWaitMoveAsideHoweverManyThereAre) {
  for (const int cpu : {0, sched_getcpu()}) {
    write_on_cpu(cpu, kMost / 2, O_DSYNC);
    others_get_on(cpu);
  }
  all_end();
}

// Plain writes are not expected to wait, so nobody moves them aside beforehand.
TEST_F(StuckTest, WaitsThatNobodyExpectedDoNotStopACpu) {
  write_on_cpu(0, 5, 0);
  others_get_on(0);
  all_end();
}

TEST_F(StuckTest, UnmountsWhileCallsAreStuck) {
  write_on_cpu(0, 10, O_DSYNC);
  for (const auto& writer : writers_) writer->signal(SIGKILL);
  mount_->abort();
  source_->thaw();
  for (const auto& writer : writers_) writer->kill();
  writers_.clear();
  EXPECT_TRUE(mount_->wait_for_exit());
}

std::vector<std::string> names_in(DIR* dir) {
  std::vector<std::string> names;
  rewinddir(dir);
  while (const dirent* entry = readdir(dir)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  return names;
}

// For an entry of READDIRPLUS that it cannot use, the kernel sends a FORGET that its client waits
// for. Here it is a directory that has come to lie, behind the mount, in what it contained.
TEST_F(UringTest, AListingDoesNotWaitForItsForget) {
  Mount mount({.options = {"transport=uring", "recover=off"}});
  ASSERT_TRUE(mount.ok());
  ASSERT_EQ(mkdir(mount.source("outer").c_str(), 0755), 0);
  ASSERT_EQ(mkdir(mount.source("outer/inner").c_str(), 0755), 0);
  write_file(mount.source("outer/inner/f"), "");
  Child client([&] {
    DIR* const inner = opendir(mount.mnt("outer/inner").c_str());
    ASSERT_NE(inner, nullptr);
    // Who looks up what was listed gets the attributes along with the next listings.
    EXPECT_EQ(names_in(inner), std::vector<std::string>{"f"});
    struct stat st {};
    ASSERT_EQ(fstatat(dirfd(inner), "f", &st, 0), 0);
    ASSERT_EQ(rename(mount.source("outer/inner").c_str(), mount.source("inner").c_str()), 0);
    ASSERT_EQ(rename(mount.source("outer").c_str(), mount.source("inner/outer").c_str()), 0);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(names_in(inner).size(), 2U);
    closedir(inner);
  });
  ASSERT_TRUE(client.join());
  const ProgramResult stats = mount.command({"stats", mount.mnt()});
  EXPECT_NE(stats.out.find("FORGET"), std::string::npos) << stats.out;
}

TEST_F(UringTest, KilledDaemonLeavesNobodyWaiting) {
  for (int round = 0; round < 5; ++round) {
    Mount mount({.options = {"transport=uring"}, .broken_on_purpose = true});
    ASSERT_TRUE(mount.ok());
    write_file(mount.mnt("f"), "");
    Actor holder(mount.mnt("f"));
    Actor waiter(mount.mnt("f"));
    EXPECT_EQ(holder.call({.op = Op::kFlock, .slot = 0, .number = LOCK_EX}).result, 0);
    waiter.begin({.op = Op::kFlock, .slot = 0, .number = LOCK_EX});
    ASSERT_TRUE(wait_until([&] { return waiter.waits(); }));
    std::vector<std::unique_ptr<Child>> clients;
    for (int i = 0; i < 6; ++i) {
      clients.push_back(std::make_unique<Child>([&, i] {
        const std::string name = mount.mnt("g" + std::to_string(i));
        for (;;) {
          if (try_open(name, O_RDWR | O_CREAT) != 0) return;
          if (unlink(name.c_str()) != 0) return;
        }
      }));
    }
    ASSERT_TRUE(wait_until([&] { return access(mount.source("g5").c_str(), F_OK) == 0; }));
    ASSERT_EQ(kill(mount.pid(), SIGKILL), 0);
    for (const auto& client : clients) EXPECT_TRUE(client->join());
    EXPECT_NE(waiter.finish().result, 0);
  }
}

}  // namespace
}  // namespace passthroughfs::test
