// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "channel/channel.h"
#include "ops/mount_state.h"
#include "session/worker.h"

namespace passthroughfs {

// What every worker serves with; constant while they run.
struct ServeContext {
  MountState& state;
  wire::DecodeOptions decode;
  uid_t owner = 0;  // who mounted
};

// The threads that serve one mount: one per CPU, pinned to it, and overflow threads that take over
// reading while others wait.
//
// A thread that is about to wait long says so (ServingThread::begin_blocking); if nobody else is
// reading then, an overflow thread starts to. A monitor does the same for waits that nobody
// announced: when no thread reads and none has finished a request for a tick. Overflow threads go
// back to sleep as soon as enough others serve.
class WorkerPool {
 public:
  WorkerPool(Channel& channel, ServeContext context, unsigned workers);
  ~WorkerPool();  // ends and joins all threads

  // Starts the pinned workers and the monitor. Errors: out of threads or memory.
  Result<void> start();

  // Waits until the channel has ended. The result says how (see Queue::next).
  Result<void> wait();

  // Makes all threads leave. The mount may still be there.
  void stop() noexcept;

  // Called by workers.
  void ensure_reader() noexcept;
  bool interrupt(std::uint64_t unique) noexcept;
  void poke() noexcept;
  [[nodiscard]] ServeContext& context() noexcept { return context_; }

  void add_statistics(std::array<OperationView, wire::kOpcodeCount>& views) const;
  [[nodiscard]] unsigned workers() const noexcept { return wanted_; }
  [[nodiscard]] unsigned overflow_threads() const noexcept;

 private:
  // Enough for every client of a busy machine to wait in fsync; more wait in the kernel's queue.
  static constexpr std::size_t kMostThreads = 256;

  Result<void> add_worker(int cpu);
  void run(Worker& worker) noexcept;
  void monitor() noexcept;
  bool reader_missing() const noexcept;
  bool superfluous(const Worker& worker) const noexcept;
  void ended(Errno how) noexcept;
  // Workers are only added, never moved or removed, so readers need no lock.
  [[nodiscard]] std::size_t count() const noexcept {
    return count_.load(std::memory_order_acquire);
  }

  Channel& channel_;
  ServeContext context_;
  const unsigned wanted_;
  std::array<std::unique_ptr<Worker>, kMostThreads> workers_;
  std::atomic<std::size_t> count_{0};
  std::atomic<bool> stopping_{false};

  mutable Mutex mutex_;
  ConditionVariable changed_;        // for parked workers
  ConditionVariable ended_changed_;  // for wait()
  ConditionVariable monitor_wake_;
  unsigned wake_parked_ PFS_GUARDED_BY(mutex_) = 0;
  unsigned parked_ PFS_GUARDED_BY(mutex_) = 0;
  bool ended_ PFS_GUARDED_BY(mutex_) = false;
  bool poked_ PFS_GUARDED_BY(mutex_) = false;
  Errno how_ PFS_GUARDED_BY(mutex_) = Errno(ENODEV);
  std::thread monitor_;
};

}  // namespace passthroughfs
