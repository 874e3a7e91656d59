// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "channel/channel.h"
#include "ops/mount_state.h"
#include "session/following.h"
#include "session/recovery.h"
#include "session/scheduling.h"
#include "session/worker.h"

namespace passthroughfs {

// What every worker serves with; constant while they run.
struct ServeContext {
  MountState& state;
  wire::DecodeOptions decode;
  uid_t owner = 0;           // who mounted
  bool impersonate = false;  // threads act as their callers; one that cannot does not serve
  Recovery& recovery;        // of a process before this one
};

// The threads that serve one mount. How, depends on the channel.
//
// Any thread may read (/dev/fuse): one reader per CPU, pinned to it, and overflow readers that take
// over while others wait. A thread that is about to wait long says so
// (ServingThread::begin_blocking); if nobody else is reading then, an overflow thread starts to. A
// monitor does the same for waits that nobody announced: when no thread reads and none has finished
// a request for a tick. Overflow threads go back to sleep as soon as enough others serve. While one
// client sends nearly all requests only one thread reads, on that client's CPU, and all the others
// are parked (following.h, readers.cc).
//
// Every CPU has a queue of its own (io_uring): one bound worker per CPU, pinned to it, and one
// reader for the rest (FORGET, INTERRUPT). A bound worker cannot hand over its queue, so a request
// that is about to wait long is passed to a helper and begun again there. For waits that nobody
// announced the monitor opens a second queue for that CPU, with a thread of its own.
class WorkerPool {
 public:
  WorkerPool(Channel& channel, ServeContext context, unsigned workers);
  ~WorkerPool();  // ends and joins all threads

  // Starts the pinned workers and the monitor. If bound workers cannot start, the channel is told
  // to do without (Channel::unbind). Errors: out of threads or memory, and what makes a thread
  // unfit to serve; `message` says it in one line.
  Result<void> start(std::string& message);

  // Waits until the channel has ended. The result says how (see Queue::next).
  Result<void> wait();

  // Makes all threads leave. The mount may still be there.
  void stop() noexcept;

  // Makes all threads leave and waits until none has a request in hand, at most so long. False:
  // some have.
  bool drain(std::chrono::milliseconds most) noexcept;

  // Called by workers.
  void ensure_reader() noexcept;
  // Passes a request of a bound worker to a helper.
  void serve_elsewhere(Incoming incoming, std::uint64_t begin) noexcept;
  bool interrupt(std::uint64_t unique) noexcept;
  // Whether INTERRUPT for this request came before a worker had taken it up. Once.
  bool interrupted_early(std::uint64_t unique) noexcept;
  void poke() noexcept;
  [[nodiscard]] ServeContext& context() noexcept { return context_; }

  // Every worker there is; from any thread.
  [[nodiscard]] std::size_t worker_count() const noexcept { return count(); }
  [[nodiscard]] Worker& worker(std::size_t i) noexcept { return *workers_[i]; }
  void add_statistics(std::array<OperationView, wire::kOpcodeCount>& views) const;
  [[nodiscard]] unsigned workers() const noexcept { return wanted_; }
  [[nodiscard]] unsigned overflow_threads() const noexcept;
  // After start(): why bound workers could not start, if there should have been any.
  [[nodiscard]] std::optional<Errno> unbound_for() const noexcept { return unbound_for_; }

 private:
  // Enough for every client of a busy machine to wait in fsync; more wait in the kernel's queue, or
  // for a helper.
  static constexpr std::size_t kMostOverflow = 256;
  static constexpr std::size_t kMostThreads = 2048;
  static constexpr std::size_t kMostPinned = kMostThreads - 2 * kMostOverflow;

  // So many requests of one thread, and the scheduler looks before its long tick is over.
  static constexpr std::uint64_t kBurst = 32;

  struct Job {
    Incoming incoming;
    std::uint64_t begin;
  };

  static std::vector<int> cpus_to_pin();
  Result<void> start_all();
  Result<void> start_bound(std::span<const int> cpus);
  Result<void> start_readers();
  Result<void> add_worker(Role role, int cpu);
  Result<void> wait_until_fit();
  Result<void> make_fit(const char*& what) const noexcept;
  bool become_fit(Worker& worker) noexcept;
  void run(Worker& worker) noexcept;
  bool attach(Worker& worker) noexcept;
  void run_queue(Worker& worker) noexcept;
  void run_helper(Worker& worker) noexcept;
  void park(Worker& worker) noexcept;
  void monitor() noexcept;
  void wake_parked() noexcept;
  bool look_at_readers() noexcept;
  void put(Worker& worker, int one_reader_at) noexcept;
  void place(Worker& worker) noexcept;
  void follow_client(Worker& worker) noexcept;
  Following::Seen look_at_clients(std::uint64_t requests) noexcept;
  void follow_clients(const Following::Seen& seen,
                      std::chrono::steady_clock::time_point now) noexcept;
  void end_recovery() noexcept;
  bool look_at_bound() noexcept;
  void schedule() noexcept;
  void wake_scheduler() noexcept;
  void show_shared_cpu(double idle_cpus) noexcept;
  bool reader_missing() const noexcept;
  bool all_readers_stuck() const noexcept;
  bool superfluous(const Worker& worker) const noexcept;
  bool mark_interrupted(std::uint64_t unique) noexcept;
  void ended(Errno how) noexcept;
  // Workers are only added, never moved or removed, so readers need no lock.
  [[nodiscard]] std::size_t count() const noexcept {
    return count_.load(std::memory_order_acquire);
  }

  Channel& channel_;
  ServeContext context_;
  const std::vector<int> cpus_;  // where threads may run
  unsigned wanted_;              // pinned workers
  unsigned wanted_readers_;      // that read or serve at a time
  std::optional<Errno> unbound_for_;
  bool bound_ = false;
  std::array<std::unique_ptr<Worker>, kMostThreads> workers_;
  std::atomic<std::size_t> count_{0};
  std::atomic<bool> stopping_{false};

  // Of readers that any of them may stand in for, see Following.
  std::atomic<int> one_reader_at_{-1};  // a CPU, or: all of them at home
  std::atomic<pid_t> one_client_{0};    // whom the one reader follows
  std::atomic<std::size_t> parked_{0};  // at least so many
  std::atomic<std::uint64_t> handovers_{0};

  // INTERRUPTs for requests that nobody had taken up; the oldest is overwritten. A number that is
  // never asked for does no harm: numbers are not used twice.
  std::array<std::atomic<std::uint64_t>, 64> early_{};
  std::atomic<unsigned> next_early_{0};

  std::optional<std::chrono::steady_clock::time_point> all_read_since_;  // the monitor's

  mutable Mutex mutex_;
  ConditionVariable ended_changed_;  // for wait()
  ConditionVariable monitor_wake_;
  ConditionVariable jobs_changed_;
  ConditionVariable attach_changed_;
  bool ended_ PFS_GUARDED_BY(mutex_) = false;
  bool poked_ PFS_GUARDED_BY(mutex_) = false;
  Errno how_ PFS_GUARDED_BY(mutex_) = Errno(ENODEV);
  std::deque<Job> jobs_ PFS_GUARDED_BY(mutex_);
  std::size_t idle_helpers_ PFS_GUARDED_BY(mutex_) = 0;
  std::size_t helpers_ PFS_GUARDED_BY(mutex_) = 0;
  enum class Decision { open, serve, leave };
  Decision decision_ PFS_GUARDED_BY(mutex_) = Decision::open;  // whether bound workers go on
  std::size_t attached_ PFS_GUARDED_BY(mutex_) = 0;
  std::optional<Errno> refused_ PFS_GUARDED_BY(mutex_);
  const bool can_give_way_ = GivingWay::possible();
  GivingWay readers_giving_way_{can_give_way_, Otherwise::normal};
  std::size_t fit_ PFS_GUARDED_BY(mutex_) = 0;  // threads that may serve
  std::optional<Errno> unfit_ PFS_GUARDED_BY(mutex_);
  bool serving_ PFS_GUARDED_BY(mutex_) = false;  // the start is over
  const char* unfit_for_ PFS_GUARDED_BY(mutex_) = "";
  std::thread monitor_;

  // No lock: see GivingWay.
  std::atomic<bool> schedule_ended_{false};
  std::atomic<bool> schedule_rests_{false};  // its next look is a long tick away
  std::counting_semaphore<> schedule_wake_{0};
  IdleCpus idle_cpus_;                // the scheduling thread's
  Following following_{cpus_};        // likewise
  std::uint64_t handovers_seen_ = 0;  // likewise
  std::thread scheduler_;
};

}  // namespace passthroughfs
