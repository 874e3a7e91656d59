// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
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

  // See Session::Takeover. Before start().
  void give_signs(std::function<void()> beat, std::chrono::nanoseconds every);
  // Errors: EAGAIN, no thread.
  Result<void> start();
  // Ends the thread; twice does no harm.
  void stop() noexcept PFS_EXCLUDES(mutex_);

  // Thread-safe.
  [[nodiscard]] HungRequests::Summary hung() const;

 private:
  using Clock = std::chrono::steady_clock;
  void run() noexcept PFS_EXCLUDES(mutex_);
  void look_at_requests() noexcept;
  [[nodiscard]] bool is_deadlocked(Clock::time_point now) noexcept;

  WorkerPool& pool_;
  // Constant once the thread is there; 0: nothing to do.
  std::optional<HungRequests> hung_;
  std::chrono::nanoseconds hung_every_{0};
  std::function<void()> beat_;
  std::chrono::nanoseconds beat_every_{0};
  // The thread's.
  std::uint64_t served_ = 0;
  Clock::time_point moved_;  // when something was last served, or could be
  bool deadlock_told_ = false;

  Mutex mutex_;
  ConditionVariable changed_;
  bool stopping_ PFS_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace passthroughfs
