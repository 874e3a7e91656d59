// SPDX-License-Identifier: Apache-2.0
//
// How serving threads and the clients that they serve share the CPUs. What each choice brings is
// measured in docs/performance.md, "Who runs when".
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"

namespace passthroughfs {

// Whether a thread of this process could run: it does, or waits for a CPU, and for nothing else.
// True as well where the kernel does not tell. Allocates nothing.
[[nodiscard]] bool is_runnable(pid_t tid) noexcept;

// How many CPUs had nothing to do, in the mean of the last tenth of a second that was looked at.
// For one thread.
class IdleCpus {
 public:
  using Clock = std::chrono::steady_clock;

  IdleCpus() noexcept;
  // 1 where the kernel does not tell.
  double look(Clock::time_point now) noexcept;

 private:
  UniqueFd stat_;
  Clock::time_point when_{};
  std::uint64_t idle_ = 0;  // of all CPUs together, in the kernel's unit
  double seen_ = 1;
  const double unit_;  // seconds
};

// Whether that many requests in so much time are a burst: with fewer, neither the class of a thread
// nor its CPU makes a difference that anybody notices.
[[nodiscard]] constexpr bool is_burst(std::uint64_t requests,
                                      std::chrono::nanoseconds time) noexcept {
  constexpr auto kEach = std::chrono::microseconds(156);
  return requests != 0 && time <= kEach * requests;
}
// So many looks in a row show that a burst goes on.
inline constexpr int kBurstTicks = 2;

// Below this share of one CPU there is none that a client could be sent to; see IdleCpus.
inline constexpr double kNoneIdle = 0.1;

// What the class is of threads that serve, while they do not give way.
enum class Otherwise : int {
  normal,
  // SCHED_BATCH: a request that nobody waits for (RELEASE after close) does not interrupt the
  // client that sent it; the thread runs when the client next sleeps. Its share of a busy CPU
  // stays.
  batch,
};

// The class of some serving threads.
//
// An answer wakes its client. On which CPU, the scheduler decides: on this one if nothing runs here
// but what is SCHED_IDLE, else on one that is idle, if there is any, and a halted CPU takes longer
// to wake up than all the rest of a request takes. As SCHED_IDLE a thread keeps its client on its
// CPU, gives way to it, and is still runnable, not asleep, when the next request comes: that halves
// the round trip. But an idle thread starves beside any other program that computes. So they are
// SCHED_IDLE only while requests come thick and fast, some CPU has nothing to do (else there is
// none that a client could be sent to) *and* nobody else wants theirs: look() goes back to the
// other class within a tick of the monitor when a thread had to wait, and tries again after a
// while, each time later.
//
// Threads that can take each other's requests share one of these; a thread with a CPU's own queue
// has its own.
//
// add_this_thread() may be called from any thread; look() from one, which takes no lock that a
// thread of the idle class may hold: who gives way holds it for as long as others compute, and only
// look() ends that. No thread holds the mutex of this class while it is idle.
class GivingWay {
 public:
  using Clock = std::chrono::steady_clock;

  // Whether this process may leave SCHED_IDLE again (CAP_SYS_NICE, or RLIMIT_NICE) and the kernel
  // tells how long threads wait (CONFIG_SCHED_INFO). If not, they never give way.
  static bool possible() noexcept;

  GivingWay(bool enabled, Otherwise otherwise) noexcept
      : enabled_(enabled), otherwise_(otherwise) {}

  // The calling thread is one of these from now on. `rests` (called by look()): whether it sleeps
  // until somebody needs it; then it waits for no CPU and costs nothing here, and there may be many
  // of them. No descriptor is kept for a thread: hundreds stay after a rush.
  using Rests = std::function<bool()>;
  void add_this_thread(Rests rests = {}) noexcept;

  // One tick. `burst`: whether requests came thick and fast since the last one. `idle_cpus`: see
  // IdleCpus. True: look again after a short tick.
  // `one_serves`: one thread serves all, on the CPU of its client, or is about to, so it waits for
  // nobody else's.
  bool look(bool burst, double idle_cpus, Clock::time_point now, bool one_serves = false) noexcept;

  // What was seen of a thread since the last look.
  struct Waited {
    std::uint64_t ran = 0;  // how often
    bool waited = false;    // for longer than a thread that gives way to its clients does
  };
  // Of all threads, one after the other: whether one had to wait that counts. Where one serves it
  // is the one that ran most: others were woken for requests that it has taken, wait behind it and
  // the client, and will park.
  class Verdict {
   public:
    explicit Verdict(bool one_serves) noexcept : one_serves_(one_serves) {}
    void add(Waited seen) noexcept {
      if (one_serves_ && seen.ran != most_) {
        if (seen.ran < most_) return;
        most_ = seen.ran;
        waited_ = false;
      }
      waited_ = waited_ || seen.waited;
    }
    [[nodiscard]] bool waited() const noexcept { return waited_; }

   private:
    const bool one_serves_;
    std::uint64_t most_ = 0;
    bool waited_ = false;
  };

  // For tests: what look() decides with what it would have seen.
  [[nodiscard]] bool decide(bool burst, double idle_cpus, bool waited,
                            Clock::time_point now) noexcept;
  [[nodiscard]] bool idle_class() const noexcept { return idle_; }

 private:
  struct Thread {
    pid_t tid = 0;
    Rests rests;
    bool awake = false;                   // at the last look, so that these are of then:
    std::uint64_t delay = 0, slices = 0;  // nanoseconds waited, times run
  };

  // Whether it does not rest; if so, it is known for the next look.
  static bool look_at(Thread& thread) noexcept;
  static Waited had_to_wait(Thread& thread, bool one_serves) noexcept;
  void apply() noexcept PFS_REQUIRES(mutex_);

  const bool enabled_;
  const Otherwise otherwise_;
  bool idle_ = false;
  int burst_ticks_ = 0;  // in a row
  Clock::time_point idle_since_{}, not_before_{};
  Clock::duration pause_{};
  Mutex mutex_;
  std::vector<Thread> threads_ PFS_GUARDED_BY(mutex_);
  std::size_t applied_to_ PFS_GUARDED_BY(mutex_) = 0;  // how many of them
};

}  // namespace passthroughfs
