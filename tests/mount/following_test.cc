// SPDX-License-Identifier: Apache-2.0
//
// Which of its threads read /dev/fuse, and where: one beside a single client, all for several.
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "frozen_source.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

std::vector<int> own_cpus() {
  cpu_set_t set;
  std::vector<int> out;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return out;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) out.push_back(cpu);
  }
  return out;
}

// A thread that asks for attributes as fast as it can, on one CPU.
class Client {
 public:
  Client(const std::string& path, int cpu)
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)), cpu_(cpu), thread_([this] { run(); }) {}
  ~Client() {
    stop_ = true;
    thread_.join();
  }
  long served() const { return served_; }

 private:
  void run() {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(cpu_), &set);
    EXPECT_EQ(sched_setaffinity(0, sizeof set, &set), 0);
    while (!stop_) {
      struct statx st {};
      EXPECT_EQ(statx(fd_.get(), "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_SIZE, &st), 0);
      ++served_;
    }
  }

  const UniqueFd fd_;
  const int cpu_;
  std::atomic<bool> stop_{false};
  std::atomic<long> served_{0};
  std::thread thread_;
};

class FollowingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
    cpus_ = own_cpus();
    if (cpus_.size() < 2) GTEST_SKIP() << "needs two CPUs";
  }
  void mount(MountSettings settings) {
    settings.options.emplace_back("transport=dev");
    mount_ = std::make_unique<Mount>(settings);
    ASSERT_TRUE(mount_->ok());
    write_file(mount_->mnt("f"), "content");
    // While all is quiet all of them read.
    ASSERT_TRUE(wait_until([&] {
      readers_.clear();
      for (const auto& task : std::filesystem::directory_iterator(
               "/proc/" + std::to_string(mount_->server_pid()) + "/task")) {
        if (call(task.path()) == SYS_read) readers_.push_back(task.path());
      }
      return readers_.size() == cpus_.size();
    })) << readers_.size();
  }
  // The call in which a thread sleeps; -1: it runs.
  static long call(const std::string& task) {
    std::ifstream file(task + "/syscall");
    long number = -1;
    return file >> number ? number : -1;
  }
  static std::string allowed(const std::string& task) {
    std::ifstream file(task + "/status");
    const std::string name = "Cpus_allowed_list:\t";
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with(name)) return line.substr(name.size());
    }
    return "";
  }
  // Whether all but one are parked, and that one may run on `cpu` only; now and a moment later.
  bool one_reads_on(int cpu) const {
    for (int look = 0; look < 5; ++look) {
      std::size_t parked = 0;
      for (const std::string& reader : readers_) {
        if (call(reader) == SYS_futex) {
          ++parked;
        } else if (allowed(reader) != std::to_string(cpu)) {
          return false;
        }
      }
      if (parked + 1 != readers_.size()) return false;
    }
    return true;
  }
  bool all_read_at_home() const {
    std::vector<std::string> homes, wanted;
    for (const std::string& reader : readers_) {
      if (call(reader) != SYS_read) return false;
      homes.push_back(allowed(reader));
    }
    for (const int cpu : cpus_) wanted.push_back(std::to_string(cpu));
    std::sort(homes.begin(), homes.end());
    std::sort(wanted.begin(), wanted.end());
    return homes == wanted;
  }

  std::vector<int> cpus_;
  std::unique_ptr<Mount> mount_;
  std::vector<std::string> readers_;  // in /proc
};

TEST_F(FollowingTest, OneReadsBesideItsClientAndAllWhenItHasGone) {
  mount({});
  for (const std::size_t at : std::array<std::size_t, 3>{0, 1, 0}) {
    const Client client(mount_->mnt("f"), cpus_[at]);
    EXPECT_TRUE(wait_until([&] { return one_reads_on(cpus_[at]); })) << cpus_[at];
  }
  EXPECT_TRUE(wait_until([&] { return all_read_at_home(); }));
}

TEST_F(FollowingTest, AllServeTwoClients) {
  mount({});
  const auto one = std::make_unique<Client>(mount_->mnt("f"), cpus_[0]);
  ASSERT_TRUE(wait_until([&] { return one_reads_on(cpus_[0]); }));
  const Client two(mount_->mnt("f"), cpus_[1]);
  EXPECT_TRUE(wait_until([&] {
    return std::none_of(readers_.begin(), readers_.end(),
                        [](const std::string& reader) { return call(reader) == SYS_futex; });
  }));
}

TEST_F(FollowingTest, RequestsThatWaitLeaveAReader) {
  FrozenSource source;
  if (!source.ok()) GTEST_SKIP() << "no loop device";
  mount({.source = source.path()});
  const std::vector<std::string> names = {"a", "b", "c"};  // each in a directory of its own
  for (const std::string& name : names) make_dir(mount_->mnt(name));
  const Client client(mount_->mnt("f"), cpus_[0]);
  ASSERT_TRUE(wait_until([&] { return one_reads_on(cpus_[0]); }));
  source.freeze();
  std::vector<std::thread> waiters;
  for (const std::string& name : names) {
    waiters.emplace_back([&] { EXPECT_EQ(mkdir(mount_->mnt(name + "/d").c_str(), 0755), 0); });
    const long before = client.served();
    EXPECT_TRUE(wait_until([&] { return client.served() > before + 1000; })) << name;
  }
  source.thaw();
  for (std::thread& waiter : waiters) waiter.join();
}

}  // namespace
}  // namespace passthroughfs::test
