// SPDX-License-Identifier: Apache-2.0
#include "session/worker_pool.h"

#include <fmt/core.h>
#include <pthread.h>

#include <chrono>
#include <csignal>
#include <ctime>
#include <system_error>
#include <utility>

#include "base/cpu_list.h"
#include "base/log.h"
#include "base/thread.h"
#include "source/credentials.h"

namespace passthroughfs {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How often the monitor looks: while requests come, while a lock on the source is waited for, and
// when all is quiet.
constexpr milliseconds kBusyTick{10};
constexpr milliseconds kIdleTick{250};

LogRateLimit g_thread_log(1);

bool is_forget(const wire::InHeader& header) noexcept {
  const auto opcode = static_cast<wire::Opcode>(header.opcode);
  return opcode == wire::Opcode::forget || opcode == wire::Opcode::batch_forget;
}

// Where rings carry the rest, a FORGET for each removed file would wake its reader each time, on
// the CPU of somebody who works. Nobody waits for one, and the kernel hands those that have
// gathered over at once. An INTERRUPT may wait this long behind them.
void let_forgets_gather() noexcept {
  constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 1'000'000};
  (void)::nanosleep(&kPause, nullptr);
}

// Signals are for the program's own threads, and those of leases for nobody (ops/mapped.cc). What a
// fault of this thread raises is not affected; the queue lets its own wake-up through.
void block_signals() noexcept {
  sigset_t all;
  sigfillset(&all);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) sigdelset(&all, fault);
  (void)::pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace

WorkerPool::WorkerPool(Channel& channel, ServeContext context, unsigned workers)
    : channel_(channel),
      context_(context),
      cpus_(cpus_to_pin()),
      wanted_(static_cast<unsigned>(
          std::min<std::size_t>(workers != 0 ? workers : cpus_.size(), kMostPinned))),
      wanted_readers_(wanted_) {}

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
  // After the workers, which have to get to their end.
  schedule_ended_ = true;
  schedule_wake_.release();
  if (scheduler_.joinable()) scheduler_.join();
  // Who asked is gone.
  MutexLock lock(mutex_);
  for (Job& job : jobs_) job.incoming.reply.none();
}

// ---- starting ----------------------------------------------------------------------------------

Result<void> WorkerPool::start(std::string& message) {
  auto started = start_all();
  if (started) return started;
  MutexLock lock(mutex_);
  message =
      unfit_ ? fmt::format("a thread cannot serve without {}: {}", unfit_for_, unfit_->to_string())
             : "cannot start threads: " + started.error().to_string();
  return started;
}

Result<void> WorkerPool::start_all() {
  const std::span<const int> cpus = channel_.bound_cpus();
  if (!cpus.empty()) {
    auto bound = cpus.size() <= kMostPinned ? start_bound(cpus) : Err(E2BIG);
    if (!bound) {
      unbound_for_ = bound.error();
      channel_.unbind();
    } else {
      wanted_ = static_cast<unsigned>(cpus.size());
      wanted_readers_ = 1;
    }
  }
  TRY(start_readers());
  TRY(wait_until_fit());
  monitor_ = std::thread([this] { monitor(); });
  if (can_give_way_) scheduler_ = start_thread([this] { schedule(); });
  return ok();
}

// All of them or none: requests wait until every CPU is served.
Result<void> WorkerPool::start_bound(std::span<const int> cpus) {
  Result<void> started = ok();
  for (std::size_t i = 0; i < cpus.size() && started; ++i) {
    started = add_worker(Role::bound, cpus[i]);
  }
  if (started) started = add_worker(Role::helper, -1);
  {
    MutexLock lock(mutex_);
    if (started) {
      while (attached_ < cpus.size() && !refused_) attach_changed_.wait(mutex_);
      if (refused_) started = *refused_;
    }
    bound_ = started.has_value();  // before anybody serves, who will look at it
    decision_ = started ? Decision::serve : Decision::leave;
  }
  attach_changed_.notify_all();
  jobs_changed_.notify_all();
  if (started) return ok();
  // Nobody else knows of these workers yet.
  for (std::size_t i = 0; i < count(); ++i) {
    if (workers_[i]->thread.joinable()) workers_[i]->thread.join();
  }
  for (std::size_t i = count(); i > 0; --i) workers_[i - 1].reset();
  count_.store(0);
  MutexLock lock(mutex_);
  helpers_ = 0;
  fit_ = 0;
  return started;
}

// The mount may end meanwhile, which is no failure: wait() tells how.
Result<void> WorkerPool::start_readers() {
  const unsigned readers = bound_ ? 1 : wanted_;
  for (unsigned i = 0; i < readers; ++i) {
    const auto added = add_worker(Role::reader, bound_ ? -1 : cpus_[i % cpus_.size()]);
    if (!added && !stopping_.load()) return added;
  }
  return ok();
}

Result<void> WorkerPool::add_worker(Role role, int cpu) {
  std::unique_ptr<Queue> queue;
  Ledger* ledger = nullptr;
  if (role == Role::reader && context_.state.ledgers) {
    ledger = context_.state.ledgers->take();
    if (ledger == nullptr) return Err(EAGAIN);
  }
  if (role != Role::helper) {
    MutableByteSpan room;
    if (ledger != nullptr) room = context_.state.ledgers->room(*ledger);
    auto opened = channel_.open_queue(cpu, room);
    if (!opened && ledger != nullptr) context_.state.ledgers->give_back(*ledger);
    queue = TRY(std::move(opened));
  }
  MutexLock lock(mutex_);
  const std::size_t at = count();
  if (at >= kMostThreads || stopping_.load()) return Err(EAGAIN);
  if (role == Role::helper && helpers_ >= kMostOverflow) return Err(EAGAIN);
  try {
    workers_[at] = std::make_unique<Worker>(*this, role, std::move(queue), cpu, ledger);
    Worker& worker = *workers_[at];
    if (role == Role::reader) worker.set_state(Worker::State::reading);
    if (role == Role::bound) worker.giving_way.emplace(can_give_way_, Otherwise::batch);
    worker.thread = std::thread([this, &worker] { run(worker); });
  } catch (const std::exception&) {
    workers_[at].reset();
    return Err(EAGAIN);
  }
  if (role == Role::helper) ++helpers_;
  count_.store(at + 1, std::memory_order_release);
  return ok();
}

// ---- the threads -------------------------------------------------------------------------------

// What a thread needs of its own before its first request. `what` names what it did not get.
Result<void> WorkerPool::make_fit(const char*& what) const noexcept {
  block_signals();
  what = "a umask of its own";
  TRY(own_umask());
  what = "the right to act as other users";
  if (context_.impersonate) TRY(enable_impersonation());
  return ok();
}

bool WorkerPool::become_fit(Worker& worker) noexcept {
  const char* what = "";
  const auto fit = make_fit(what);
  bool late = false;
  {
    MutexLock lock(mutex_);
    late = serving_;
    if (fit) {
      ++fit_;
    } else {
      if (!unfit_) unfit_for_ = what;
      if (!unfit_) unfit_ = fit.error();
      if (worker.role() == Role::bound && !refused_) refused_ = fit.error();
      if (worker.role() == Role::helper) --helpers_;
    }
  }
  attach_changed_.notify_all();
  if (!fit && late && g_thread_log.allow()) {
    log_warning("a thread cannot serve without {}: {}", what, fit.error().to_string());
  }
  return fit.has_value();
}

// At the start, so that it fails rather than serve with too few threads.
Result<void> WorkerPool::wait_until_fit() {
  MutexLock lock(mutex_);
  while (fit_ < count() && !unfit_) attach_changed_.wait(mutex_);
  if (unfit_) return *unfit_;
  serving_ = true;
  return ok();
}

void WorkerPool::run(Worker& worker) noexcept {
  worker.begin_thread();
  if (Ledger* const ledger = worker.ledger()) {
    ledger_in_hand() = {ledger, context_.state.ledgers->grants(*ledger)};
  }
  place(worker);
  if (!become_fit(worker)) {
    worker.set_state(Worker::State::ended);
    return;
  }
  if (worker.giving_way) worker.giving_way->add_this_thread();
  if (worker.role() == Role::reader && !bound_) {
    readers_giving_way_.add_this_thread(
        [&worker] { return worker.state() == Worker::State::parked; });
  }
  if (worker.role() == Role::helper) {
    run_helper(worker);
  } else if (attach(worker)) {
    run_queue(worker);
    worker.queue().detach();
  }
  worker.set_state(Worker::State::ended);
}

// False: the thread is to leave.
bool WorkerPool::attach(Worker& worker) noexcept {
  const auto attached = worker.queue().attach();
  if (worker.role() != Role::bound) return attached.has_value();
  bool serve = false;
  {
    MutexLock lock(mutex_);
    if (attached) {
      ++attached_;
    } else if (!refused_) {
      refused_ = attached.error();
    }
    attach_changed_.notify_all();
    while (decision_ == Decision::open) attach_changed_.wait(mutex_);
    serve = attached && decision_ == Decision::serve;
  }
  if (!serve) worker.queue().detach();
  return serve;
}

void WorkerPool::run_queue(Worker& worker) noexcept {
  while (!stopping_.load(std::memory_order_relaxed)) {
    worker.set_state(Worker::State::reading);
    auto incoming = worker.queue().next();
    if (!incoming) {
      // A bound queue that has just ended leaves it to the readers to say how.
      if (incoming.error() != ESHUTDOWN) ended(incoming.error());
      return;
    }
    if (!incoming->has_value()) continue;
    worker.set_state(Worker::State::serving);
    const bool forgets = is_forget((*incoming)->request.header);
    worker.serve(**incoming);
    if (worker.served() % kBurst == 0) wake_scheduler();
    if (one_reader_at_.load(std::memory_order_relaxed) >= 0 && worker.client_away()) {
      follow_client(worker);
    }
    if (bound_ && worker.role() == Role::reader) {
      if (forgets) let_forgets_gather();
    } else if (count() - parked_.load(std::memory_order_relaxed) > 1 && superfluous(worker)) {
      park(worker);
    }
  }
}

void WorkerPool::run_helper(Worker& worker) noexcept {
  for (;;) {
    Job job;
    {
      MutexLock lock(mutex_);
      ++idle_helpers_;
      while (jobs_.empty() && !stopping_.load() && decision_ != Decision::leave) {
        jobs_changed_.wait(mutex_);
      }
      --idle_helpers_;
      if (jobs_.empty() || stopping_.load()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    worker.set_state(Worker::State::serving);
    worker.serve(job.incoming, job.begin);
    worker.set_state(Worker::State::parked);
  }
}

void WorkerPool::serve_elsewhere(Incoming incoming, std::uint64_t begin) noexcept {
  bool more = false;
  try {
    MutexLock lock(mutex_);
    jobs_.push_back(Job{std::move(incoming), begin});
    more = jobs_.size() > idle_helpers_ && helpers_ < kMostOverflow;
  } catch (const std::bad_alloc&) {
    if (incoming.reply.pending()) (void)incoming.reply.error(Err(ENOMEM));
    return;
  }
  jobs_changed_.notify_one();
  // Without another thread it is served as soon as a helper is back.
  if (more) (void)add_worker(Role::helper, -1);
}

// ---- the monitor -------------------------------------------------------------------------------

void WorkerPool::monitor() noexcept {
  block_signals();
  for (;;) {
    const bool readers_busy = look_at_readers();
    const bool bound_busy = bound_ && look_at_bound();
    const bool waiters = context_.state.locks.waiting() != 0;
    if (waiters) context_.state.locks.poll();
    if (!context_.recovery.is_over()) end_recovery();

    MutexLock lock(mutex_);
    const auto until =
        steady_clock::now() + (readers_busy || bound_busy || waiters ? kBusyTick : kIdleTick);
    while (!ended_ && !poked_ && steady_clock::now() < until) {
      (void)monitor_wake_.wait_until(mutex_, until);
    }
    poked_ = false;
    if (ended_) return;
  }
}

// The kernel sends again what was not answered before it sends anything new. Once there was a
// moment with nothing to read, all of that is in the hands of our threads, which need a moment to
// say so.
void WorkerPool::end_recovery() noexcept {
  constexpr auto kMoment = std::chrono::seconds(1);
  const auto now = steady_clock::now();
  if (!all_read_since_) {
    if (!channel_.has_waiting()) all_read_since_ = now;
  } else if (now - *all_read_since_ > kMoment) {
    context_.recovery.forget_answered();
    if (context_.state.ledgers) context_.state.ledgers->free_unused_rooms();
  }
}

// The same for each CPU with a queue of its own.
bool WorkerPool::look_at_bound() noexcept {
  bool busy = false;
  for (std::size_t first = 0; first < count(); ++first) {
    const int cpu = workers_[first]->cpu();
    if (workers_[first]->role() != Role::bound) continue;
    // The first worker of each CPU stands for all of it.
    bool stands = true;
    bool stuck = true;
    for (std::size_t i = 0; i < count(); ++i) {
      Worker& worker = *workers_[i];
      if (worker.role() != Role::bound || worker.cpu() != cpu) continue;
      stands = i >= first;
      if (!stands) break;
      const std::uint64_t served = worker.served();
      const bool moved = served != worker.served_at_last_look;
      worker.served_at_last_look = served;
      const bool serving = worker.state() == Worker::State::serving;
      busy = busy || moved || serving;
      stuck = stuck && !moved && worker.stuck();
    }
    if (!stands || !stuck) continue;
    if (auto added = add_worker(Role::bound, cpu); !added && g_thread_log.allow()) {
      log_warning("no second thread for CPU {}: {}", cpu, added.error().to_string());
    }
  }
  return busy;
}

void WorkerPool::poke() noexcept {
  {
    MutexLock lock(mutex_);
    poked_ = true;
  }
  monitor_wake_.notify_one();
}

// ---- interrupts --------------------------------------------------------------------------------

bool WorkerPool::mark_interrupted(std::uint64_t unique) noexcept {
  for (std::size_t i = 0; i < count(); ++i) {
    if (workers_[i]->mark_interrupted(unique)) return true;
  }
  return false;
}

bool WorkerPool::interrupt(std::uint64_t unique) noexcept {
  // First the mark, then the look at who is parked: a worker parks first and then looks at its
  // mark, so one of the two sees the other.
  bool found = mark_interrupted(unique);
  found = context_.state.locks.interrupt(unique & ~wire::kUniqueResend) || found;
  if (found || !bound_) return found;
  // A ring has it, and its thread has not come to it yet. The kernel would not send the INTERRUPT
  // again, so it is kept; and those who took the request up before that are asked again.
  early_[next_early_.fetch_add(1) % early_.size()].store(unique);
  (void)mark_interrupted(unique);
  (void)context_.state.locks.interrupt(unique & ~wire::kUniqueResend);
  return true;
}

bool WorkerPool::interrupted_early(std::uint64_t unique) noexcept {
  if (next_early_.load() == 0 || unique == 0) return false;
  for (std::atomic<std::uint64_t>& early : early_) {
    std::uint64_t expected = unique;
    if (early.compare_exchange_strong(expected, 0)) return true;
  }
  return false;
}

// ---- the end -----------------------------------------------------------------------------------

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
    if (decision_ == Decision::open) decision_ = Decision::leave;
  }
  wake_parked();
  jobs_changed_.notify_all();
  attach_changed_.notify_all();
  channel_.wake_all();
}

bool WorkerPool::drain(milliseconds most) noexcept {
  stop();
  const auto until = steady_clock::now() + most;
  for (;;) {
    bool left = true;
    for (std::size_t i = 0; i < count(); ++i) {
      const Worker::State state = workers_[i]->state();
      left = left && (state == Worker::State::parked || state == Worker::State::ended);
    }
    if (left || steady_clock::now() >= until) return left;
    std::this_thread::sleep_for(milliseconds(1));
  }
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
