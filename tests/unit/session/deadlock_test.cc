// SPDX-License-Identifier: Apache-2.0
#include "session/deadlock.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "support/temp_tree.h"
#include "support/wait_until.h"

namespace passthroughfs {
namespace {

// The answer of a thread that looks while the others wait for it.
bool looks_deadlocked() {
  std::atomic<bool> answer{false};
  std::thread looker([&] {
    answer = test::wait_until(std::chrono::seconds(2), [] {
      return only_waits_for_itself(static_cast<pid_t>(syscall(SYS_gettid)));
    });
  });
  looker.join();  // a futex
  return answer;
}

TEST(Deadlock, ThreadsThatWaitForEachOtherAreOne) {
  std::mutex mutex;
  std::unique_lock held(mutex);
  std::thread waiter([&] { const std::lock_guard wait(mutex); });
  EXPECT_TRUE(looks_deadlocked());
  held.unlock();
  waiter.join();
}

TEST(Deadlock, AThreadThatRunsIsNone) {
  std::atomic<bool> stop{false};
  std::thread runner([&] {
    while (!stop) {
    }
  });
  EXPECT_FALSE(looks_deadlocked());
  stop = true;
  runner.join();
}

// As one that waits for a source which does not answer.
TEST(Deadlock, AThreadThatWaitsForAFileIsNone) {
  const test::TempTree tree;
  const std::string fifo = tree / "fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  std::thread opener([&] { close(open(fifo.c_str(), O_RDONLY | O_CLOEXEC)); });
  EXPECT_FALSE(looks_deadlocked());
  close(open(fifo.c_str(), O_WRONLY | O_CLOEXEC));
  opener.join();
}

}  // namespace
}  // namespace passthroughfs
