// SPDX-License-Identifier: Apache-2.0
//
// Of WorkerPool: who runs when, see scheduling.h.
#include <chrono>
#include <utility>

#include "base/shared_cpu.h"
#include "session/worker_pool.h"

namespace passthroughfs {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// While a burst begins, while requests come, and when all is quiet. The first is too short to tell
// whether a thread of the idle class starves, and looking so often costs too much to be for long.
constexpr milliseconds kFirstTick{3};
constexpr int kFirstTicks = 4;
constexpr milliseconds kBusyTick{10};
constexpr milliseconds kIdleTick{250};

}  // namespace

// A thread of its own: see GivingWay for what it must not wait for.
void WorkerPool::schedule() noexcept {
  auto last = steady_clock::now();
  int first_ticks = 0;  // how many have passed
  for (;;) {
    const auto now = steady_clock::now();
    const auto passed = now - std::exchange(last, now);
    const double idle_cpus = idle_cpus_.look(now);
    std::uint64_t read = 0;
    bool soon = false;
    bool idle_class = false;
    for (std::size_t i = 0; i < count(); ++i) {
      Worker& worker = *workers_[i];
      const std::uint64_t served = worker.served();
      const std::uint64_t requests = served - std::exchange(worker.served_when_scheduled, served);
      if (worker.giving_way) {
        soon = worker.giving_way->look(is_burst(requests, passed), idle_cpus, now) || soon;
        idle_class = idle_class || worker.giving_way->idle_class();
      }
      if (worker.role() == Role::reader) read += requests;
      soon = soon || requests != 0;
    }
    if (!bound_) {
      Following::Seen seen = look_at_clients(read);
      seen.burst = is_burst(read, passed);
      const bool one =
          one_reader_at_.load(std::memory_order_relaxed) >= 0 || following_.has_one_client(seen);
      soon = readers_giving_way_.look(seen.burst, idle_cpus, now, one) || soon;
      idle_class = readers_giving_way_.idle_class();
      seen.stays = idle_class || idle_cpus < kNoneIdle;
      follow_clients(seen, now);
    }

    show_shared_cpu(idle_cpus);
    first_ticks = soon ? first_ticks + 1 : 0;
    schedule_rests_.store(!soon);
    const bool first = first_ticks <= kFirstTicks && !idle_class;
    (void)schedule_wake_.try_acquire_until(now + (!soon   ? kIdleTick
                                                  : first ? kFirstTick
                                                          : kBusyTick));
    if (schedule_ended_.load()) return;
  }
}

// By a thread that has served many requests while the scheduler rests: a burst would be over before
// the next look.
void WorkerPool::wake_scheduler() noexcept {
  if (schedule_rests_.load(std::memory_order_relaxed) && schedule_rests_.exchange(false)) {
    schedule_wake_.release();
  }
}

// Where a thread of the idle class and its client take turns, if it is one CPU.
void WorkerPool::show_shared_cpu(double idle_cpus) noexcept {
  int shared = -1;
  bool one = true;
  if (!bound_) {
    if (readers_giving_way_.idle_class()) shared = one_reader_at_.load();
  } else {
    for (std::size_t i = 0; i < count(); ++i) {
      const Worker& worker = *workers_[i];
      if (!worker.giving_way || !worker.giving_way->idle_class()) continue;
      one = shared < 0 || shared == worker.cpu();
      if (!one) break;
      shared = worker.cpu();
    }
  }
  set_shared_cpu(one && idle_cpus >= kNoneIdle ? shared : -1);
}

}  // namespace passthroughfs
