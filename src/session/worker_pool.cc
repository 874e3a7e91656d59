// SPDX-License-Identifier: Apache-2.0
#include "session/worker_pool.h"

#include <pthread.h>
#include <sched.h>

#include <chrono>
#include <system_error>

#include "base/log.h"

namespace passthroughfs {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How often the monitor looks: while requests come, while a lock on the source is waited for, and
// when all is quiet.
constexpr milliseconds kBusyTick{10};
constexpr milliseconds kIdleTick{250};

void pin_to(int cpu) noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  // A container may not let us; then the scheduler places the thread.
  (void)::pthread_setaffinity_np(::pthread_self(), sizeof set, &set);
}

// The CPUs that this process may use, in order.
std::vector<int> usable_cpus() {
  std::vector<int> out;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) out.push_back(cpu);
    }
  }
  if (out.empty()) out.push_back(0);
  return out;
}

}  // namespace

WorkerPool::WorkerPool(Channel& channel, ServeContext context, unsigned workers)
    : channel_(channel),
      context_(context),
      wanted_(workers != 0 ? std::min<unsigned>(workers, kMostThreads / 2)
                           : static_cast<unsigned>(
                                 std::min<std::size_t>(usable_cpus().size(), kMostThreads / 2))) {}

WorkerPool::~WorkerPool() {
  stop();
  {
    MutexLock lock(mutex_);
    ended_ = true;
  }
  monitor_wake_.notify_all();
  if (monitor_.joinable()) monitor_.join();
  // Nobody adds workers any more: only workers and the monitor do, and the flag stops them.
  for (std::size_t i = 0; i < count(); ++i) {
    if (workers_[i]->thread.joinable()) workers_[i]->thread.join();
  }
}

Result<void> WorkerPool::start() {
  const std::vector<int> cpus = usable_cpus();
  for (unsigned i = 0; i < wanted_; ++i) {
    auto added = add_worker(cpus[i % cpus.size()]);
    if (!added) return added;
  }
  monitor_ = std::thread([this] { monitor(); });
  return ok();
}

Result<void> WorkerPool::add_worker(int cpu) {
  auto queue = channel_.open_queue(cpu);
  if (!queue) return queue.error();
  MutexLock lock(mutex_);
  const std::size_t at = count();
  if (at >= kMostThreads || stopping_.load()) return Err(EAGAIN);
  try {
    workers_[at] = std::make_unique<Worker>(*this, std::move(*queue), cpu);
    Worker& worker = *workers_[at];
    worker.set_state(Worker::State::reading);
    worker.thread = std::thread([this, &worker] { run(worker); });
  } catch (const std::system_error&) {
    workers_[at].reset();
    return Err(EAGAIN);
  }
  count_.store(at + 1, std::memory_order_release);
  return ok();
}

void WorkerPool::run(Worker& worker) noexcept {
  const bool overflow = worker.cpu() < 0;
  if (!overflow) pin_to(worker.cpu());
  own_umask();
  while (!stopping_.load(std::memory_order_relaxed)) {
    worker.set_state(Worker::State::reading);
    auto incoming = worker.queue().next();
    if (!incoming) {
      ended(incoming.error());
      break;
    }
    if (!incoming->has_value()) continue;
    worker.set_state(Worker::State::serving);
    worker.serve(**incoming);
    if (overflow && superfluous(worker)) {
      worker.set_state(Worker::State::parked);
      MutexLock lock(mutex_);
      ++parked_;
      while (wake_parked_ == 0 && !stopping_.load()) changed_.wait(mutex_);
      if (wake_parked_ > 0) --wake_parked_;
      --parked_;
    }
  }
  worker.set_state(Worker::State::parked);
}

// Whether nobody would take the next request.
bool WorkerPool::reader_missing() const noexcept {
  for (std::size_t i = 0; i < count(); ++i) {
    if (workers_[i]->state() == Worker::State::reading) return false;
  }
  return true;
}

bool WorkerPool::superfluous(const Worker& worker) const noexcept {
  unsigned others = 0;
  for (std::size_t i = 0; i < count(); ++i) {
    const Worker& other = *workers_[i];
    const Worker::State state = other.state();
    if (&other != &worker && (state == Worker::State::reading || state == Worker::State::serving)) {
      ++others;
    }
  }
  return others >= wanted_;
}

void WorkerPool::ensure_reader() noexcept {
  if (!reader_missing()) return;
  {
    MutexLock lock(mutex_);
    if (parked_ > wake_parked_) {
      ++wake_parked_;
      changed_.notify_one();
      return;
    }
  }
  // Without another thread clients wait until this one is back; nothing is lost.
  (void)add_worker(-1);
}

void WorkerPool::monitor() noexcept {
  std::uint64_t before = 0;
  for (;;) {
    std::uint64_t served = 0;
    for (std::size_t i = 0; i < count(); ++i) served += workers_[i]->served();
    const bool moved = served != before;
    before = served;
    const bool missing = reader_missing();
    if (missing && !moved) ensure_reader();
    const bool waiters = context_.state.locks.waiting() != 0;
    if (waiters) context_.state.locks.poll();

    MutexLock lock(mutex_);
    const auto until = steady_clock::now() + (moved || missing || waiters ? kBusyTick : kIdleTick);
    while (!ended_ && !poked_ && steady_clock::now() < until) {
      (void)monitor_wake_.wait_until(mutex_, until);
    }
    poked_ = false;
    if (ended_) return;
  }
}

void WorkerPool::poke() noexcept {
  {
    MutexLock lock(mutex_);
    poked_ = true;
  }
  monitor_wake_.notify_one();
}

bool WorkerPool::interrupt(std::uint64_t unique) noexcept {
  // First the mark, then the look at who is parked: a worker parks first and then looks at its
  // mark, so one of the two sees the other.
  bool found = false;
  for (std::size_t i = 0; i < count() && !found; ++i) {
    found = workers_[i]->mark_interrupted(unique);
  }
  return context_.state.locks.interrupt(unique) || found;
}

void WorkerPool::ended(Errno how) noexcept {
  {
    MutexLock lock(mutex_);
    if (!ended_) how_ = how;
    ended_ = true;
  }
  stop();
  ended_changed_.notify_all();
  monitor_wake_.notify_all();
}

void WorkerPool::stop() noexcept {
  if (stopping_.exchange(true)) return;
  {
    MutexLock lock(mutex_);  // so that nobody is between the check and the wait
  }
  changed_.notify_all();
  channel_.wake_all();
}

Result<void> WorkerPool::wait() {
  MutexLock lock(mutex_);
  while (!ended_) ended_changed_.wait(mutex_);
  if (how_ == ENODEV) return ok();
  return how_;
}

void WorkerPool::add_statistics(std::array<OperationView, wire::kOpcodeCount>& views) const {
  for (std::size_t i = 0; i < count(); ++i) workers_[i]->statistics().add_to(views);
}

unsigned WorkerPool::overflow_threads() const noexcept {
  const std::size_t all = count();
  return all > wanted_ ? static_cast<unsigned>(all - wanted_) : 0;
}

}  // namespace passthroughfs
