// SPDX-License-Identifier: Apache-2.0
#include "session/watchdog.h"

#include <algorithm>
#include <new>
#include <system_error>

#include "base/log.h"
#include "base/thread.h"
#include "session/statistics.h"
#include "session/worker_pool.h"

namespace passthroughfs {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

LogRateLimit g_memory_log(1);

}  // namespace

Watchdog::Watchdog(WorkerPool& pool, MountState& state, const wire::DecodeOptions& decode)
    : pool_(pool), tick_(0) {
  const seconds limit(state.config.hung_after);
  if (limit.count() == 0) return;
  hung_.emplace(state, decode, static_cast<std::uint64_t>(std::chrono::nanoseconds(limit).count()));
  tick_ = std::min<milliseconds>(seconds(1), milliseconds(limit) / 4);
}

Watchdog::~Watchdog() { stop(); }

Result<void> Watchdog::start() {
  if (tick_.count() == 0) return ok();
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
  for (;;) {
    {
      MutexLock lock(mutex_);
      const auto until = steady_clock::now() + tick_;
      while (!stopping_ && steady_clock::now() < until) (void)changed_.wait_until(mutex_, until);
      if (stopping_) return;
    }
    look();
  }
}

void Watchdog::look() noexcept {
  try {
    if (hung_) hung_->look(pool_, monotonic_ns());
  } catch (const std::exception& error) {
    if (g_memory_log.allow()) log_warning("cannot look for hung requests: {}", error.what());
  }
}

}  // namespace passthroughfs
