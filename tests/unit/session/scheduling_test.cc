// SPDX-License-Identifier: Apache-2.0
#include "session/scheduling.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

namespace passthroughfs {
namespace {

using Clock = ReaderScheduling::Clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kMany = 500;
constexpr milliseconds kTick{10};

class ReaderSchedulingTest : public ::testing::Test {
 protected:
  void ticks(int count, std::uint64_t requests, bool waited = false) {
    for (int i = 0; i < count; ++i) (void)scheduling_.decide(requests, waited, now_ += kTick);
  }
  void pass(Clock::duration time, std::uint64_t requests) {
    for (const Clock::time_point end = now_ + time; now_ < end;) ticks(1, requests);
  }
  ReaderScheduling scheduling_{true};
  Clock::time_point now_{seconds(1000)};
};

TEST_F(ReaderSchedulingTest, GivesWayOnlyWhileRequestsComeThick) {
  ticks(100, 3);
  EXPECT_FALSE(scheduling_.idle_class());
  ticks(10, kMany);
  EXPECT_TRUE(scheduling_.idle_class());
  ticks(1, 3);
  EXPECT_FALSE(scheduling_.idle_class()) << "the next look may be a long tick away";
}

TEST_F(ReaderSchedulingTest, IsLookedAtInShortTicksAsLongAsItGivesWay) {
  ticks(10, kMany);
  ASSERT_TRUE(scheduling_.idle_class());
  EXPECT_TRUE(scheduling_.decide(kMany, false, now_ += kTick));
  EXPECT_TRUE(scheduling_.decide(0, true, now_ += kTick));
  EXPECT_FALSE(scheduling_.decide(0, false, now_ += kTick));
}

TEST_F(ReaderSchedulingTest, GoesBackWithinATickOfHavingHadToWait) {
  ticks(10, kMany);
  ASSERT_TRUE(scheduling_.idle_class());
  ticks(1, 0, true);
  EXPECT_FALSE(scheduling_.idle_class());
  ticks(10, kMany);
  EXPECT_FALSE(scheduling_.idle_class()) << "not at once again";
}

TEST_F(ReaderSchedulingTest, TriesLessOftenTheMoreOftenItHadToWait) {
  Clock::duration last{};
  for (int i = 0; i < 12; ++i) {
    const Clock::time_point before = now_;
    while (!scheduling_.idle_class()) ticks(1, kMany);
    EXPECT_GE(now_ - before, last - 5 * kTick);
    last = now_ - before;
    ticks(1, kMany, true);
  }
  EXPECT_GE(last, seconds(15));
  EXPECT_LE(last, seconds(17));
  // The other programs have ended.
  while (!scheduling_.idle_class()) ticks(1, kMany);
  pass(seconds(3), kMany);
  ticks(1, kMany, true);
  const Clock::time_point before = now_;
  while (!scheduling_.idle_class()) ticks(1, kMany);
  EXPECT_LE(now_ - before, seconds(1));
}

TEST_F(ReaderSchedulingTest, ChangesTheClassOfThreads) {
  if (!ReaderScheduling::possible()) GTEST_SKIP() << "this process may not leave SCHED_IDLE";
  std::atomic<int> stage{0};
  std::atomic<pid_t> tid{0};
  std::thread reader([&] {
    scheduling_.add_this_thread();
    tid = static_cast<pid_t>(::syscall(SYS_gettid));
    stage = 1;
    stage.notify_all();
    stage.wait(1);
  });
  stage.wait(0);
  // The ticks pass in no time, so as long as the thread has not gone to sleep it seems to wait.
  const auto deadline = Clock::now() + seconds(20);
  while (::sched_getscheduler(tid) != SCHED_IDLE && Clock::now() < deadline) {
    (void)scheduling_.look(kMany, now_ += kTick);
  }
  EXPECT_EQ(::sched_getscheduler(tid), SCHED_IDLE);
  (void)scheduling_.look(0, now_ += kTick);
  EXPECT_EQ(::sched_getscheduler(tid), SCHED_OTHER);
  stage = 2;
  stage.notify_all();
  reader.join();
}

TEST(ReaderScheduling, LeavesThreadsAloneWhenItCannotTakeThemBack) {
  ReaderScheduling scheduling(false);
  scheduling.add_this_thread();
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(scheduling.look(kMany, Clock::now()));
  EXPECT_EQ(::sched_getscheduler(0), SCHED_OTHER);
}

TEST(Scheduling, AThreadOfACpusOwnQueueDoesNotInterruptClients) {
  int policy = -1;
  std::thread([&] {
    let_clients_run_on();
    policy = ::sched_getscheduler(0);
  }).join();
  EXPECT_EQ(policy, SCHED_BATCH);
}

}  // namespace
}  // namespace passthroughfs
