// SPDX-License-Identifier: Apache-2.0
#include "session/watchdog.h"

#include <unistd.h>

#include <algorithm>
#include <exception>
#include <system_error>

#include "base/log.h"
#include "base/thread.h"
#include "session/deadlock.h"
#include "session/statistics.h"
#include "session/worker_pool.h"

namespace passthroughfs {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

// Threads that wait for each other for so long do so for ever.
constexpr seconds kDeadlock{10};

LogRateLimit g_memory_log(1);

}  // namespace

Watchdog::Watchdog(WorkerPool& pool, MountState& state, const wire::DecodeOptions& decode)
    : pool_(pool) {
  const nanoseconds limit = seconds(state.config.hung_after);
  if (limit.count() == 0) return;
  hung_.emplace(state, decode, static_cast<std::uint64_t>(limit.count()));
  hung_every_ = std::min<nanoseconds>(seconds(1), limit / 4);
}

Watchdog::~Watchdog() { stop(); }

void Watchdog::give_signs(std::function<void()> beat, nanoseconds every) {
  beat_ = std::move(beat);
  beat_every_ = every;
}

Result<void> Watchdog::start() {
  if (hung_every_.count() == 0 && beat_every_.count() == 0) return ok();
  try {
    thread_ = start_thread([this] { run(); });
  } catch (const std::system_error&) {
    return Err(EAGAIN);
  }
  return ok();
}

void Watchdog::stop() noexcept {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

HungRequests::Summary Watchdog::hung() const {
  return hung_ ? hung_->summary(monotonic_ns()) : HungRequests::Summary{};
}

void Watchdog::run() noexcept {
  Clock::time_point next_look = Clock::now() + hung_every_;
  Clock::time_point next_beat = Clock::now();
  moved_ = Clock::now();
  for (;;) {
    const auto now = Clock::now();
    if (beat_every_.count() != 0 && now >= next_beat) {
      if (!is_deadlocked(now)) beat_();
      next_beat = now + beat_every_;
    }
    if (hung_ && now >= next_look) {
      look_at_requests();
      next_look = now + hung_every_;
    }
    const auto next = beat_every_.count() == 0 ? next_look
                      : !hung_                 ? next_beat
                                               : std::min(next_look, next_beat);
    MutexLock lock(mutex_);
    while (!stopping_ && Clock::now() < next) (void)changed_.wait_until(mutex_, next);
    if (stopping_) return;
  }
}

void Watchdog::look_at_requests() noexcept {
  try {
    hung_->look(pool_, monotonic_ns());
  } catch (const std::exception& error) {
    if (g_memory_log.allow()) log_warning("cannot look for hung requests: {}", error.what());
  }
}

// Nothing was served for long, something is in hand, and all that anybody does is wait for others.
bool Watchdog::is_deadlocked(Clock::time_point now) noexcept {
  std::uint64_t served = 0;
  bool in_hand = false;
  const std::uint64_t second_ago = monotonic_ns() - 1'000'000'000;
  for (std::size_t i = 0; i < pool_.worker_count(); ++i) {
    const Worker& worker = pool_.worker(i);
    served += worker.served();
    in_hand = in_hand || worker.has_long_in_hand(second_ago) != 0;
  }
  if (served != served_ || !in_hand || !only_waits_for_itself(::gettid())) {
    served_ = served;
    moved_ = now;
    return false;
  }
  if (now - moved_ < kDeadlock) return false;
  if (!deadlock_told_) log_error("the threads that serve wait for each other: a deadlock");
  deadlock_told_ = true;
  return true;
}

}  // namespace passthroughfs
