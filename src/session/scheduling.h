// SPDX-License-Identifier: Apache-2.0
//
// How serving threads and the clients that they serve share the CPUs. What each choice brings is
// measured in docs/performance.md, "Who runs when".
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"

namespace passthroughfs {

// For a thread with a CPU's own queue: makes the calling thread SCHED_BATCH. Then a request that
// nobody waits for (RELEASE after close) does not interrupt the client that sent it; the thread
// runs when the client next sleeps. Its share of a busy CPU stays what it was.
void let_clients_run_on() noexcept;

// The class of the threads that read /dev/fuse.
//
// The kernel wakes whichever reader has waited longest, on whichever CPU that is, and an answer
// comes sooner when the thread that gave the last one also takes the next: it is awake, and on the
// client's CPU. As SCHED_IDLE it gives way to the client that it has just woken and is still
// runnable, not asleep, when the next request comes: that halves the round trip. But an idle thread
// starves beside any other program that computes. So the readers are SCHED_IDLE only while requests
// come thick and fast *and* nobody else wants the CPUs: look() goes back to the normal class within
// a tick of the monitor when a reader had to wait, and tries again after a while, each time later.
//
// add_this_thread() may be called from any thread; look() from one, the monitor.
class ReaderScheduling {
 public:
  using Clock = std::chrono::steady_clock;

  // Whether this process may leave SCHED_IDLE again (CAP_SYS_NICE, or RLIMIT_NICE) and the kernel
  // tells how long threads wait (CONFIG_SCHED_INFO). If not, readers stay in the normal class.
  static bool possible() noexcept;

  explicit ReaderScheduling(bool enabled) noexcept : enabled_(enabled) {}

  // The calling thread has become a reader.
  void add_this_thread() noexcept;

  // One tick. `requests`: how many were served since the last one. True: look again after a short
  // tick.
  bool look(std::uint64_t requests, Clock::time_point now) noexcept;

  // For tests: what look() decides with what it would have seen.
  [[nodiscard]] bool decide(std::uint64_t requests, bool waited, Clock::time_point now) noexcept;
  [[nodiscard]] bool idle_class() const noexcept { return idle_; }

 private:
  struct Reader {
    pid_t tid = 0;
    UniqueFd schedstat, stat;
    std::uint64_t delay = 0, slices = 0;  // at the last look: nanoseconds waited, times run
  };

  static bool had_to_wait(Reader& reader) noexcept;
  void apply() noexcept PFS_REQUIRES(mutex_);

  const bool enabled_;
  bool idle_ = false;
  int hot_ticks_ = 0;
  Clock::time_point idle_since_{}, not_before_{};
  Clock::duration pause_{};
  Mutex mutex_;
  std::vector<Reader> readers_ PFS_GUARDED_BY(mutex_);
};

}  // namespace passthroughfs
