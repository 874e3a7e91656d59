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

// While requests come, and when all is quiet.
constexpr milliseconds kBusyTick{10};
constexpr milliseconds kIdleTick{250};

}  // namespace

// A thread of its own: see GivingWay for what it must not wait for.
void WorkerPool::schedule() noexcept {
  for (;;) {
    const auto now = steady_clock::now();
    const double idle_cpus = idle_cpus_.look(now);
    std::uint64_t read = 0;
    bool soon = false;
    for (std::size_t i = 0; i < count(); ++i) {
      Worker& worker = *workers_[i];
      const std::uint64_t served = worker.served();
      const std::uint64_t requests = served - std::exchange(worker.served_when_scheduled, served);
      if (worker.giving_way) soon = worker.giving_way->look(requests, idle_cpus, now) || soon;
      if (worker.role() == Role::reader) read += requests;
      soon = soon || requests != 0;
    }
    if (!bound_) {
      Following::Seen seen = look_at_clients(read);
      const bool one = one_reader_at_.load(std::memory_order_relaxed) >= 0 ||
                       following_.has_one_client(seen);
      soon = readers_giving_way_.look(read, idle_cpus, now, one) || soon;
      seen.stays = readers_giving_way_.idle_class() || idle_cpus < kNoneIdle;
      follow_clients(seen, now);
    }

    show_shared_cpu(idle_cpus);
    schedule_rests_.store(!soon);
    (void)schedule_wake_.try_acquire_until(now + (soon ? kBusyTick : kIdleTick));
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
