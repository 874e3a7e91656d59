// SPDX-License-Identifier: Apache-2.0
//
// Of WorkerPool: which threads read, and where.
#include <algorithm>
#include <span>
#include <utility>

#include "base/cpu_list.h"
#include "base/shared_cpu.h"
#include "session/worker_pool.h"

namespace passthroughfs {
std::vector<int> WorkerPool::cpus_to_pin() {
  std::vector<int> out = usable_cpus();
  if (out.empty()) out.push_back(0);
  return out;
}

// ---- who reads ---------------------------------------------------------------------------------

// Whether nobody would take the next request.
bool WorkerPool::reader_missing() const noexcept {
  for (std::size_t i = 0; i < count(); ++i) {
    const Worker& worker = *workers_[i];
    if (worker.role() == Role::reader && worker.state() == Worker::State::reading) return false;
  }
  return true;
}

bool WorkerPool::all_readers_stuck() const noexcept {
  for (std::size_t i = 0; i < count(); ++i) {
    const Worker& worker = *workers_[i];
    const Worker::State state = worker.state();
    if (worker.role() != Role::reader || state == Worker::State::parked) continue;
    if (state != Worker::State::ended && !worker.stuck()) return false;
  }
  return true;
}

// Whether enough others read, or serve and will. One that serves may wait for long, unannounced, so
// without another that reads nobody is superfluous.
bool WorkerPool::superfluous(const Worker& worker) const noexcept {
  const bool one = one_reader_at_.load() >= 0;
  if (!one && worker.cpu() >= 0) return false;
  unsigned others = 0;
  bool one_reads = false;
  for (std::size_t i = 0; i < count(); ++i) {
    const Worker& other = *workers_[i];
    if (&other == &worker || other.role() != Role::reader) continue;
    const Worker::State state = other.state();
    if (state == Worker::State::reading) {
      one_reads = true;
      ++others;
    } else if (state == Worker::State::serving) {
      ++others;
    }
  }
  return one_reads && (one || others >= wanted_readers_);
}

// No lock: a thread of the idle class could hold it, see GivingWay. Instead all sides write their
// own state and then look at the others', all sequentially consistent: who parks while the last
// other one parks, blocks, stops the pool or calls everybody back sees that, or is seen by it.
void WorkerPool::park(Worker& worker) noexcept {
  parked_.fetch_add(1);
  worker.set_state(Worker::State::parked);
  if (stopping_.load() || !superfluous(worker)) (void)worker.claim();
  worker.wait_while_parked();
  parked_.fetch_sub(1);
  place(worker);
}

void WorkerPool::ensure_reader() noexcept {
  if (!reader_missing()) return;
  handovers_.fetch_add(1, std::memory_order_relaxed);
  for (std::size_t i = 0; i < count(); ++i) {
    if (workers_[i]->role() == Role::reader && workers_[i]->claim()) return;
  }
  // Without another thread clients wait until this one is back; nothing is lost.
  (void)add_worker(Role::reader, -1);
}

void WorkerPool::wake_parked() noexcept {
  for (std::size_t i = 0; i < count(); ++i) {
    if (workers_[i]->role() == Role::reader) (void)workers_[i]->claim();
  }
}

// No thread reads and none has finished anything since the last look: all of them wait. True: look
// again soon.
bool WorkerPool::look_at_readers() noexcept {
  bool moved = false;
  for (std::size_t i = 0; i < count(); ++i) {
    Worker& worker = *workers_[i];
    if (worker.role() != Role::reader) continue;
    const std::uint64_t served = worker.served();
    moved = moved || served != worker.served_at_last_look;
    worker.served_at_last_look = served;
  }
  const bool missing = reader_missing();
  if (missing && !moved && all_readers_stuck()) ensure_reader();
  return moved || missing;
}

// ---- where -------------------------------------------------------------------------------------

// A container may not let us, or the CPU is off; then the scheduler places the thread.
void WorkerPool::put(Worker& worker, int one_reader_at) noexcept {
  const bool reads = worker.role() == Role::reader && !bound_;
  const int cpu = reads && one_reader_at >= 0 ? one_reader_at : worker.cpu();
  if (cpu == worker.placed_at.load(std::memory_order_relaxed) || worker.tid() == 0) return;
  (void)bind_to(worker.tid(), cpu >= 0 ? std::span(&cpu, 1) : std::span(cpus_));
  worker.placed_at.store(cpu, std::memory_order_relaxed);
}

// By the worker itself, before it reads. follow_clients() places those that are not parked.
void WorkerPool::place(Worker& worker) noexcept {
  for (int at = one_reader_at_.load();;) {
    put(worker, at);
    const int now = one_reader_at_.load();
    if (now == at) return;
    at = now;
    worker.placed_at.store(Worker::kUnknown, std::memory_order_relaxed);  // both may have tried
  }
}

// By the one reader, when its client seems to have moved.
void WorkerPool::follow_client(Worker& worker) noexcept {
  int at = one_reader_at_.load();
  if (at < 0) return;
  const auto cpu = cpu_of(one_client_.load());
  const bool gone = cpu && *cpu != at && following_.usable(*cpu);
  worker.looked_for_client(gone);
  if (!gone) return;
  if (!one_reader_at_.compare_exchange_strong(at, *cpu)) return;
  place(worker);
  if (shared_cpu() == at) set_shared_cpu(*cpu);
}

// By the thread that schedules, as what follows; no lock, as above.
Following::Seen WorkerPool::look_at_clients(std::uint64_t requests) noexcept {
  Following::Seen seen;
  seen.requests = requests;
  for (std::size_t i = 0; i < count(); ++i) {
    if (workers_[i]->role() == Role::reader) seen.clients.add(workers_[i]->recent_clients().take());
  }
  const std::uint64_t handovers = handovers_.load(std::memory_order_relaxed);
  seen.handovers = handovers - std::exchange(handovers_seen_, handovers);
  return seen;
}

void WorkerPool::follow_clients(const Following::Seen& seen,
                                std::chrono::steady_clock::time_point now) noexcept {
  const int at = following_.look(seen, now);
  if (at < 0 && one_reader_at_.load(std::memory_order_relaxed) < 0) return;
  one_client_.store(seen.clients.main);
  const bool changed = one_reader_at_.exchange(at) != at;
  for (std::size_t i = 0; i < count(); ++i) {
    Worker& worker = *workers_[i];
    const Worker::State state = worker.state();
    if (worker.role() != Role::reader || state == Worker::State::ended) continue;
    if (state != Worker::State::parked) {
      if (changed) worker.placed_at.store(Worker::kUnknown, std::memory_order_relaxed);
      put(worker, at);
    } else if (at < 0 && worker.cpu() >= 0) {
      (void)worker.claim();
    }
  }
}

}  // namespace passthroughfs
