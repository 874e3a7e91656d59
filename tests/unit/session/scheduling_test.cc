// SPDX-License-Identifier: Apache-2.0
#include "session/scheduling.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace passthroughfs {
namespace {

using Clock = GivingWay::Clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kMany = 500;
constexpr milliseconds kTick{10};

class GivingWayTest : public ::testing::Test {
 protected:
  void ticks(int count, std::uint64_t requests, bool waited = false) {
    for (int i = 0; i < count; ++i) {
      (void)scheduling_.decide(is_burst(requests, kTick), idle_cpus_, waited, now_ += kTick);
    }
  }
  double idle_cpus_ = 1;
  void pass(Clock::duration time, std::uint64_t requests) {
    for (const Clock::time_point end = now_ + time; now_ < end;) ticks(1, requests);
  }
  GivingWay scheduling_{true, Otherwise::normal};
  Clock::time_point now_{seconds(1000)};
};

TEST(BurstTest, IsAMatterOfTheRate) {
  EXPECT_TRUE(is_burst(65, milliseconds(10)));
  EXPECT_FALSE(is_burst(64, milliseconds(11)));
  EXPECT_TRUE(is_burst(20, milliseconds(3)));
  EXPECT_FALSE(is_burst(64, milliseconds(250)));
  EXPECT_FALSE(is_burst(0, milliseconds(0)));
}

TEST_F(GivingWayTest, GivesWayOnlyWhileRequestsComeThick) {
  ticks(100, 3);
  EXPECT_FALSE(scheduling_.idle_class());
  ticks(10, kMany);
  EXPECT_TRUE(scheduling_.idle_class());
  ticks(1, 3);
  EXPECT_FALSE(scheduling_.idle_class()) << "the next look may be a long tick away";
}

TEST_F(GivingWayTest, GivesWayOnlyWhereAClientCouldBeSentAway) {
  idle_cpus_ = 0.2;
  ticks(100, kMany);
  EXPECT_FALSE(scheduling_.idle_class());
  idle_cpus_ = 0.5;
  ticks(1, kMany);
  EXPECT_TRUE(scheduling_.idle_class());
  idle_cpus_ = 0.2;
  ticks(1, kMany);
  EXPECT_TRUE(scheduling_.idle_class()) << "a little less changes nothing";
  idle_cpus_ = 0;
  ticks(1, kMany);
  EXPECT_FALSE(scheduling_.idle_class());
}

TEST_F(GivingWayTest, IsLookedAtInShortTicksAsLongAsItGivesWay) {
  ticks(10, kMany);
  ASSERT_TRUE(scheduling_.idle_class());
  EXPECT_TRUE(scheduling_.decide(true, 1, false, now_ += kTick));
  EXPECT_TRUE(scheduling_.decide(false, 1, true, now_ += kTick));
  EXPECT_FALSE(scheduling_.decide(false, 1, false, now_ += kTick));
}

TEST(VerdictTest, WhereOneServesOnlyThatOneCounts) {
  using Waited = GivingWay::Waited;
  const auto waited = [](bool one_serves, const std::vector<Waited>& threads) {
    GivingWay::Verdict verdict(one_serves);
    for (const Waited& seen : threads) verdict.add(seen);
    return verdict.waited();
  };
  const Waited serves{.ran = 900, .waited = false}, starves{.ran = 900, .waited = true};
  const Waited will_park{.ran = 3, .waited = true}, parked{};
  EXPECT_FALSE(waited(true, {}));
  EXPECT_FALSE(waited(true, {serves, will_park, parked}));
  EXPECT_FALSE(waited(true, {parked, will_park, serves}));
  EXPECT_TRUE(waited(true, {parked, will_park, starves}));
  EXPECT_TRUE(waited(true, {starves, will_park}));
  EXPECT_TRUE(waited(true, {parked, {.ran = 0, .waited = true}})) << "nobody has run at all";
  EXPECT_TRUE(waited(false, {serves, will_park, parked}));
  EXPECT_FALSE(waited(false, {serves, parked}));
}

TEST_F(GivingWayTest, GoesBackWithinATickOfHavingHadToWait) {
  ticks(10, kMany);
  ASSERT_TRUE(scheduling_.idle_class());
  ticks(1, 0, true);
  EXPECT_FALSE(scheduling_.idle_class());
  ticks(10, kMany);
  EXPECT_FALSE(scheduling_.idle_class()) << "not at once again";
}

TEST_F(GivingWayTest, TriesLessOftenTheMoreOftenItHadToWait) {
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

class ClassesTest : public ::testing::TestWithParam<Otherwise> {};

INSTANTIATE_TEST_SUITE_P(Otherwise, ClassesTest,
                         ::testing::Values(Otherwise::normal, Otherwise::batch));

TEST_P(ClassesTest, ThreadsAreIdleWhileTheyGiveWayAndElseWhatTheyWere) {
  if (!GivingWay::possible()) GTEST_SKIP() << "this process may not leave SCHED_IDLE";
  const int otherwise = GetParam() == Otherwise::batch ? SCHED_BATCH : SCHED_OTHER;
  GivingWay scheduling(true, GetParam());
  Clock::time_point now{};
  std::atomic<int> stage{0};
  std::atomic<pid_t> tid{0};
  std::thread thread([&] {
    scheduling.add_this_thread();
    tid = static_cast<pid_t>(::syscall(SYS_gettid));
    stage = 1;
    stage.notify_all();
    stage.wait(1);
  });
  stage.wait(0);
  EXPECT_EQ(::sched_getscheduler(tid), otherwise);
  // The ticks pass in no time, so as long as the thread has not gone to sleep it seems to wait.
  const auto deadline = Clock::now() + seconds(20);
  while (::sched_getscheduler(tid) != SCHED_IDLE && Clock::now() < deadline) {
    (void)scheduling.look(true, 1, now += kTick);
  }
  EXPECT_EQ(::sched_getscheduler(tid), SCHED_IDLE);
  (void)scheduling.look(false, 1, now += kTick);
  EXPECT_EQ(::sched_getscheduler(tid), otherwise);
  stage = 2;
  stage.notify_all();
  thread.join();
}

// A thread that has slept since the last look and is runnable now had to wait, if it does not rest.
TEST(GivingWay, DoesNotLookAtThreadsThatRest) {
  if (!GivingWay::possible()) GTEST_SKIP() << "this process may not leave SCHED_IDLE";
  for (const bool rests : {false, true}) {
    GivingWay scheduling(true, Otherwise::normal);
    int asked = 0;
    scheduling.add_this_thread([&] {
      ++asked;
      return rests;
    });
    Clock::time_point now{};
    for (int i = 0; i < kBurstTicks; ++i) (void)scheduling.look(true, 1, now += kTick);
    ASSERT_TRUE(scheduling.idle_class());
    // This thread runs all the time, in one slice or some; so it seems to wait before long.
    const auto deadline = Clock::now() + (rests ? milliseconds(100) : milliseconds(20'000));
    while (scheduling.idle_class() && Clock::now() < deadline) {
      (void)scheduling.look(true, 1, now += kTick);
    }
    EXPECT_EQ(scheduling.idle_class(), rests);
    EXPECT_GT(asked, 0);
    const sched_param parameters{};
    ASSERT_EQ(::sched_setscheduler(0, SCHED_OTHER, &parameters), 0);
  }
}

TEST(GivingWay, LeavesThreadsAloneWhenItCannotTakeThemBack) {
  GivingWay scheduling(false, Otherwise::normal);
  scheduling.add_this_thread();
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(scheduling.look(true, 1, Clock::now()));
  EXPECT_EQ(::sched_getscheduler(0), SCHED_OTHER);
}

TEST(Scheduling, AThreadThatWaitsIsNotRunnable) {
  EXPECT_TRUE(is_runnable(::gettid()));
  std::atomic<int> stage{0};
  std::atomic<pid_t> tid{0};
  std::thread thread([&] {
    tid = ::gettid();
    stage = 1;
    stage.notify_all();
    stage.wait(1);
  });
  stage.wait(0);
  const auto deadline = Clock::now() + seconds(20);
  while (is_runnable(tid) && Clock::now() < deadline) std::this_thread::yield();
  EXPECT_FALSE(is_runnable(tid));
  stage = 2;
  stage.notify_all();
  thread.join();
}

TEST(IdleCpus, AreNoMoreThanThereAre) {
  IdleCpus idle;
  (void)idle.look(Clock::now());
  const auto begin = Clock::now();
  double seen = 0;
  while (Clock::now() - begin < milliseconds(200)) {
    seen = idle.look(Clock::now());
    EXPECT_GE(seen, 0);
    std::this_thread::sleep_for(kTick);
  }
  // The kernel counts in hundredths of a second.
  EXPECT_LE(seen, static_cast<double>(std::thread::hardware_concurrency()) + 1);
}

}  // namespace
}  // namespace passthroughfs
