// SPDX-License-Identifier: Apache-2.0
#include "base/mutex.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace passthroughfs {
namespace {

struct Counter {
  Mutex mutex;
  ConditionVariable changed;
  int value PFS_GUARDED_BY(mutex) = 0;
};

TEST(Mutex, KeepsOthersOut) {
  Counter counter;
  const auto add = [&] {
    for (int i = 0; i < 10'000; ++i) {
      const MutexLock lock(counter.mutex);
      ++counter.value;
    }
  };
  std::thread other(add);
  add();
  other.join();
  const MutexLock lock(counter.mutex);
  EXPECT_EQ(counter.value, 20'000);
}

TEST(MutexLock, LetsGoAtTheEndOfItsScope) {
  Mutex mutex;
  { const MutexLock lock(mutex); }
  const bool free = mutex.try_lock();
  if (free) mutex.unlock();
  EXPECT_TRUE(free);
}

TEST(ConditionVariable, WakesAWaiter) {
  Counter counter;
  std::thread other([&] {
    const MutexLock lock(counter.mutex);
    counter.value = 1;
    counter.changed.notify_all();
  });
  {
    const MutexLock lock(counter.mutex);
    while (counter.value == 0) counter.changed.wait(counter.mutex);
    EXPECT_EQ(counter.value, 1);
  }
  other.join();
}

TEST(ConditionVariable, GivesUpAtTheDeadline) {
  Counter counter;
  const MutexLock lock(counter.mutex);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(5);
  std::cv_status status = std::cv_status::no_timeout;
  while (status == std::cv_status::no_timeout) {
    status = counter.changed.wait_until(counter.mutex, deadline);
  }
  EXPECT_GE(std::chrono::steady_clock::now(), deadline);
}

}  // namespace
}  // namespace passthroughfs
