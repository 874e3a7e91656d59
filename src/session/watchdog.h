// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <thread>

#include "base/mutex.h"
#include "session/hung_requests.h"

namespace passthroughfs {

// A thread that does nothing but look at the others, from time to time. It asks the source nothing,
// so that it goes on when that hangs.
class Watchdog {
 public:
  Watchdog(WorkerPool& pool, MountState& state, const wire::DecodeOptions& decode);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Errors: EAGAIN, no thread.
  Result<void> start();
  // Ends the thread; twice does no harm.
  void stop() noexcept PFS_EXCLUDES(mutex_);

  // Thread-safe.
  [[nodiscard]] HungRequests::Summary hung() const;

 private:
  void run() noexcept PFS_EXCLUDES(mutex_);
  void look() noexcept;

  WorkerPool& pool_;
  std::optional<HungRequests> hung_;  // constant
  std::chrono::milliseconds tick_;    // constant
  Mutex mutex_;
  ConditionVariable changed_;
  bool stopping_ PFS_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace passthroughfs
