// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <mutex>

#include "base/thread_annotations.h"

namespace passthroughfs {

// std::mutex with the attributes that let clang check what it guards.
class PFS_CAPABILITY("mutex") Mutex {
 public:
  void lock() PFS_ACQUIRE() { mutex_.lock(); }
  void unlock() PFS_RELEASE() { mutex_.unlock(); }
  bool try_lock() PFS_TRY_ACQUIRE(true) { return mutex_.try_lock(); }

 private:
  std::mutex mutex_;
};

// Holds a Mutex for a scope.
class PFS_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) PFS_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() PFS_RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Waits on a Mutex that the caller holds.
class ConditionVariable {
 public:
  void wait(Mutex& mutex) PFS_REQUIRES(mutex) PFS_NO_THREAD_SAFETY_ANALYSIS { cv_.wait(mutex); }
  template <typename Deadline>
  std::cv_status wait_until(Mutex& mutex, const Deadline& deadline)
      PFS_REQUIRES(mutex) PFS_NO_THREAD_SAFETY_ANALYSIS {
    return cv_.wait_until(mutex, deadline);
  }
  void notify_one() { cv_.notify_one(); }
  void notify_all() { cv_.notify_all(); }

 private:
  std::condition_variable_any cv_;
};

}  // namespace passthroughfs
