// SPDX-License-Identifier: Apache-2.0
//
// A mount in two processes: the guardian, and the server, which is its child.
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>

#include "base/fault.h"
#include "base/log.h"
#include "base/signals.h"
#include "embed/filesystem_impl.h"

namespace passthroughfs {

Outcome<void> Filesystem::Impl::create_guardian(const Handover* from) {
  Guardian::Calls calls{.serve = [this](bool again) { return serve_guarded(again); },
                        .prepare = prepare_process,
                        .try_program = {}};
  if (!arguments_.empty()) {
    calls.try_program = [this](int program, const std::function<bool()>& wanted) {
      return try_program(program, arguments_, hand_over(), wanted);
    };
  }
  auto guardian = Guardian::create(std::move(calls), from);
  if (!guardian) return Error{guardian.error().value(), "no memory for the guardian"};
  guardian_ = std::move(*guardian);
  guardian_->look_after(std::uint64_t{config_.replace_after} * 1'000'000'000, manager_.get());
  return {};
}

Outcome<void> Filesystem::Impl::start_guarded() {
  if (auto created = create_guardian(nullptr); !created) return created;
  keep_with_manager();
  if (auto started = guardian_->start(); !started) return started;
  MutexLock lock(mutex_);
  phase_ = Phase::serving;
  return {};
}

// The server's life, on a thread of its process.
int Filesystem::Impl::serve_guarded(bool again) {
  is_server_ = true;
  if (is_new_program_) {
    renew_faults();
    fault_point(Fault::upgrade);
  }
  (void)!::chdir("/");  // it may be asked to unmount where it was started
  const Session::Takeover takeover{
      .again = again,
      .died = guardian_->died(),
      .descriptors = guardian_->descriptors(),
      .beat = [this] { guardian_->beat(); },
      .beat_every = std::chrono::nanoseconds(guardian_->beat_every_ns()),
      .dropping = [this](bool begun) { guardian_->dropping(begun); },
      .outlives_all = !kept_names_.empty()};
  if (auto begun = begin_serving(takeover); !begun) {
    guardian_->failed(begun.error());
  }
  guardian_->ready();
  int code = 0;
  {
    SignalThread signals(
        [this] {
          auto stopped = stop();
          if (stopped) return;
          log_error("{}", stopped.error().message);
          // Detached and in use, and only the end of both processes will cut the connection.
          if (stopped.error().code == EBUSY) guardian_->ended(0);
        },
        log_can_reopen() ? std::function<void()>(log_reopen) : std::function<void()>());
    if (auto served = run(); !served) {
      log_error("{}", served.error().message);
      code = 1;
    }
  }
  return code;
}

// The guardian's.
Outcome<void> Filesystem::Impl::watch() {
  Outcome<Guardian::Ended> ended = guardian_->watch();
  while (ended && ended->replace) {
    log_info("{}: another program takes over", config_.mountpoint);
    const std::string why =
        fmt::format("it cannot be executed: {}", become(guardian_->program()).to_string());
    log_error("{}: the new program does not take over: {}", config_.mountpoint, why);
    guardian_->note_upgrade(why);
    ended = guardian_->watch();
  }
  tell_manager("STOPPING=1");
  end();
  const bool connected = session_->is_connected();
  leave_session_behind();
  remove_dead_mount(connected);
  helper_.reset();
  discard_kept();
  if (!ended) {
    return Error{ended.error().code,
                 fmt::format("{}: {}", config_.mountpoint, ended.error().message)};
  }
  if (ended->code != 0)
    return Error{EIO, fmt::format("{}: the server has failed", config_.mountpoint)};
  return {};
}

}  // namespace passthroughfs
