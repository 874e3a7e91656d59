// SPDX-License-Identifier: Apache-2.0
//
// Thousands of clients at the same time, at work and waiting for locks.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/json.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

class CrowdTest : public MountTest {
 protected:
  // `processes` children with `threads` threads each; all are there before one begins.
  // `body(number)` says whether it went well.
  template <typename Body>
  std::vector<std::unique_ptr<Child>> gather(int processes, int threads, const Body& body) {
    std::vector<std::unique_ptr<Child>> children;
    for (int p = 0; p < processes; ++p) {
      children.push_back(std::make_unique<Child>([&, p] {
        std::atomic<int> failures = 0;
        std::vector<std::thread> crowd;
        for (int t = 0; t < threads; ++t) {
          crowd.emplace_back([&, t] {
            ready_.pass();
            if (!start_.wait() || !body(p * threads + t)) ++failures;
          });
        }
        for (std::thread& one : crowd) one.join();
        EXPECT_EQ(failures, 0);
      }));
    }
    for (int i = 0; i < processes * threads; ++i) EXPECT_TRUE(ready_.wait());
    start_.pass(static_cast<unsigned>(processes * threads));
    return children;
  }
  long lock_waiters() const { return stats(mount()).value("lock_waiters", -1L); }

  Gate ready_, start_;
};

TEST_F(CrowdTest, FourThousandClientsInFiveHundredProcesses) {
  constexpr int kProcesses = 500;
  constexpr int kThreads = 8;
  for (int d = 0; d < 10; ++d) make_dir(mnt("d" + std::to_string(d)));
  write_file(mnt("shared"), "shared content");
  const std::size_t before = native_run() ? 0 : mount().descriptors();
  const auto children = gather(kProcesses, kThreads, [&](int number) {
    try {
      const std::string name =
          mnt("d" + std::to_string(number % 10) + "/" + std::to_string(number));
      const std::string moved = name + ".moved";
      struct stat st {};
      write_file(name, name);
      return read_file(name) == name && read_file(mnt("shared")) == "shared content" &&
             rename(name.c_str(), moved.c_str()) == 0 && stat(moved.c_str(), &st) == 0 &&
             st.st_size == static_cast<off_t>(name.size()) && access(name.c_str(), F_OK) != 0 &&
             unlink(moved.c_str()) == 0;
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
      return false;
    }
  });
  for (const auto& child : children) child->join();
  for (int d = 0; d < 10; ++d) {
    EXPECT_TRUE(std::filesystem::is_empty(mnt("d" + std::to_string(d)))) << d;
  }
  if (!native_run()) {
    EXPECT_TRUE(wait_until([&] { return mount().descriptors() <= before + 20; }))
        << before << " -> " << mount().descriptors();
  }
}

enum class Kind { kFlock, kPosix, kOfd };

class LockCrowdTest : public CrowdTest, public ::testing::WithParamInterface<Kind> {
 protected:
  static int lock(int fd, short type, bool wait) {
    if (GetParam() == Kind::kFlock) {
      const int operation = type == F_UNLCK ? LOCK_UN : type == F_RDLCK ? LOCK_SH : LOCK_EX;
      return flock(fd, operation | (wait ? 0 : LOCK_NB));
    }
    struct flock range {};
    range.l_type = type;
    range.l_len = 1;
    const bool ofd = GetParam() == Kind::kOfd;
    return fcntl(fd, wait ? (ofd ? F_OFD_SETLKW : F_SETLKW) : (ofd ? F_OFD_SETLK : F_SETLK),
                 &range);
  }
};

TEST_P(LockCrowdTest, TwoThousandWaitersLeaveTheMountAliveAndAllGetTheirTurn) {
  PFS_NEEDS_DAEMON();
  PFS_NEEDS_HANDLES();  // else locks are the kernel's own affair
  constexpr int kProcesses = 40;
  constexpr int kThreads = 50;
  write_file(mnt("f"), "content");
  const std::size_t before = mount().descriptors();
  const UniqueFd holder(open(mnt("f").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(lock(holder.get(), F_WRLCK, false), 0);
  // Readers, so that those who get it do so together.
  auto children = gather(kProcesses, kThreads, [&](int) {
    const UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CLOEXEC));
    return fd.valid() && lock(fd.get(), F_RDLCK, true) == 0 && lock(fd.get(), F_UNLCK, true) == 0;
  });
  EXPECT_TRUE(wait_until([&] { return lock_waiters() == kProcesses * kThreads; }))
      << lock_waiters();

  for (int i = 0; i < 100; ++i) {
    const std::string name = mnt("other" + std::to_string(i));
    write_file(name, name);
    ASSERT_EQ(read_file(name), name);
    ASSERT_EQ(unlink(name.c_str()), 0);
  }
  // Who dies waits no more.
  for (int i = 0; i < kProcesses / 2; ++i) {
    children.back()->kill();
    children.pop_back();
  }
  EXPECT_TRUE(wait_until([&] { return lock_waiters() == kProcesses / 2 * kThreads; }))
      << lock_waiters();

  ASSERT_EQ(lock(holder.get(), F_UNLCK, true), 0);
  for (const auto& child : children) child->join();
  EXPECT_EQ(lock_waiters(), 0);
  EXPECT_EQ(lock(holder.get(), F_WRLCK, false), 0) << errno_name(errno);
  // Threads that were added in the rush, and their rings, stay.
  EXPECT_TRUE(wait_until([&] { return mount().descriptors() <= before + 200; }))
      << before << " -> " << mount().descriptors();
}

INSTANTIATE_TEST_SUITE_P(Kinds, LockCrowdTest,
                         ::testing::Values(Kind::kFlock, Kind::kPosix, Kind::kOfd),
                         [](const auto& kind) {
                           return kind.param == Kind::kFlock   ? "Flock"
                                  : kind.param == Kind::kPosix ? "Posix"
                                                               : "Ofd";
                         });

}  // namespace
}  // namespace passthroughfs::test
