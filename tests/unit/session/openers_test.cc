// SPDX-License-Identifier: Apache-2.0
#include "session/openers.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <ctime>
#include <thread>

#include "support/wait_until.h"

namespace passthroughfs {
namespace {

std::int64_t now() {
  timespec time{};
  clock_gettime(CLOCK_BOOTTIME, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::uint32_t own_thread() { return static_cast<std::uint32_t>(syscall(SYS_gettid)); }

// A thread with a name that looks like the end of one.
class OtherThread {
 public:
  OtherThread()
      : thread_([this] {
          prctl(PR_SET_NAME, "a) R 1 (b");
          id_.store(own_thread());
          while (!leave_.load()) std::this_thread::yield();
        }) {
    while (id_.load() == 0) std::this_thread::yield();
  }
  ~OtherThread() { end(); }
  OtherThread(const OtherThread&) = delete;
  OtherThread& operator=(const OtherThread&) = delete;
  void end() {
    leave_.store(true);
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] std::uint32_t id() const { return id_.load(); }

 private:
  std::atomic<std::uint32_t> id_{0};
  std::atomic<bool> leave_{false};
  std::thread thread_;
};

TEST(Openers, AThreadThatLivesStandsForItsProcess) {
  const OtherThread thread;
  ASSERT_NE(thread.id(), static_cast<std::uint32_t>(getpid()));
  Openers openers;
  EXPECT_EQ(openers.process_of(thread.id(), now()), static_cast<std::uint32_t>(getpid()));
  EXPECT_EQ(openers.process_of(own_thread(), now()), static_cast<std::uint32_t>(getpid()));
}

// The number has passed on to somebody who cannot have opened the file.
TEST(Openers, AThreadThatCameLaterIsAStranger) {
  const OtherThread thread;
  Openers openers;
  constexpr std::int64_t kSecond = 1'000'000'000;
  EXPECT_EQ(openers.process_of(thread.id(), now() - 5 * kSecond), thread.id());
  EXPECT_EQ(openers.process_of(thread.id(), now()), static_cast<std::uint32_t>(getpid()));
}

TEST(Openers, AThreadThatIsGoneIsANumber) {
  OtherThread thread;
  const std::int64_t opened = now();
  thread.end();
  // The kernel takes it from /proc a moment after the join.
  EXPECT_TRUE(
      test::wait_until([&] { return Openers().process_of(thread.id(), opened) == thread.id(); }));
}

TEST(Openers, WhoCannotBeSeenIsZero) { EXPECT_EQ(Openers().process_of(0, now()), 0U); }

}  // namespace
}  // namespace passthroughfs
