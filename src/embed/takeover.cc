// SPDX-License-Identifier: Apache-2.0
//
// How a mount comes from one program to another.
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/log.h"
#include "embed/filesystem_impl.h"

namespace passthroughfs {

Handover Filesystem::Impl::hand_over() const {
  Handover out;
  session_->hand_over(out);
  guardian_->leave_to(out);
  out.put_text(handed::kLayout, program_layout());
  out.put_text(handed::kSource, config_.source);
  out.put_text(handed::kMountpoint, config_.mountpoint);
  out.put_text(handed::kJournal, config_.journal_file);
  out.put_number(handed::kMountDevice, device_);
  if (helper_) {
    out.put_descriptor(handed::kUnmountSocket, helper_->socket());
    out.put_number(handed::kUnmountPid, static_cast<std::uint64_t>(helper_->child()));
  }
  out.put_number(handed::kKept, kept_names_.empty() ? 0 : 1);
  for (const auto& [name, value] : manager_variables_) out.put_text(name, value);
  for (const auto& [name, fd] : left_descriptors_) out.put_descriptor(name, fd);
  return out;
}

// Returns only if it fails.
Errno Filesystem::Impl::become(int program) const {
  Handover handover = hand_over();
  const UniqueFd self(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  if (self.valid()) handover.put_descriptor(handed::kOldProgram, self.get());
  return replace_program(program, arguments_, handover);
}

Outcome<void> Filesystem::Impl::take_over(const Handover& from) {
  const auto layout = from.text(handed::kLayout);
  if (layout != program_layout()) {
    return Error{EPROTO, fmt::format("the tables in memory are of another layout ({}; mine is {})",
                                     layout.value_or("unknown"), program_layout())};
  }
  const auto source = from.text(handed::kSource);
  const auto mountpoint = from.text(handed::kMountpoint);
  const auto device = from.number(handed::kMountDevice);
  if (!source || !mountpoint || !device || !config_.recover || !dedicated_) {
    return Error{EPROTO, "what was handed over is not understood"};
  }
  config_.source = *source;
  config_.mountpoint = *mountpoint;
  config_.journal_file = from.text(handed::kJournal).value_or("");
  device_ = *device;
  const auto socket = from.descriptor(handed::kUnmountSocket);
  const auto helper = from.number(handed::kUnmountPid);
  if (socket && helper) {
    helper_ = UnmountHelper::adopt(UniqueFd(*socket), static_cast<pid_t>(*helper));
  }
  return adopt_session(from);
}

Outcome<void> Filesystem::Impl::adopt_session(const Handover& from) {
  std::string message;
  auto session = Session::create(config_, message, &from);
  if (!session) {
    return Error{session.error().value(), message.empty() ? session.error().to_string() : message};
  }
  session_ = std::move(*session);
  if (auto gone_on = session_->go_on(from, message); !gone_on) {
    return Error{gone_on.error().value(), message};
  }
  return create_guardian(&from);
}

Outcome<void> Filesystem::Impl::go_on(const Inheritance& from) {
  const Handover& handover = from.handover;
  if (notify_) {
    for (const char* name : ServiceManager::kVariables) {
      if (const auto value = handover.text(name)) (void)::setenv(name, value->c_str(), 1);
    }
    find_manager();
  }
  Outcome<void> done = take_over(handover);
  if (handover.number(handed::kTrial).value_or(0) != 0) {
    const std::string said = done ? "can take over" : done.error().message;
    if (const auto answer = handover.descriptor(handed::kAnswer)) {
      (void)!write(*answer, (said + '\n').data(), said.size() + 1);
    }
    _exit(done ? 0 : 1);  // nothing that belongs to the other program may be closed or changed
  }
  const auto old_program = handover.descriptor(handed::kOldProgram);
  const auto failure = handover.text(handed::kFailure);
  constexpr std::uint64_t kPatience = 10'000'000'000;
  is_new_program_ = !failure;
  if (done && handover.number(handed::kKept).value_or(0) != 0) {
    kept_names_ = {handed::kKeptHandover};
    for (const auto& [name, fd] : to_be_kept()) kept_names_.push_back(name);
  }
  // Before anybody can ask what became of it.
  if (done) guardian_->note_upgrade(failure.value_or(""));
  if (done) done = guardian_->start(from.unnamed, old_program ? kPatience : 0);
  if (!done && old_program) {
    log_error("{}: cannot go on ({}); the program before goes on instead", config_.mountpoint,
              done.error().message);
    if (guardian_) guardian_->take_back_upgrade();
    Handover back = handover;
    back.put_text(handed::kFailure, done.error().message);
    back.put_descriptor(handed::kOldProgram, -1);
    const Errno why = replace_program(*old_program, arguments_, back);
    log_error("{}: nor can that one: {}", config_.mountpoint, why.to_string());
  }
  if (!done) return done;
  is_new_program_ = false;
  if (old_program) guardian_->let_go_of(*old_program);
  if (!kept_names_.empty()) (void)keep_handover();  // if not, the next start says so
  if (manager_) {
    manager_->note(fmt::format("READY=1\nSTATUS=serving {} at {}", one_line(config_.source),
                               one_line(config_.mountpoint)));
  }
  MutexLock lock(mutex_);
  phase_ = Phase::serving;
  return {};
}

// In the server. Nothing has stopped yet when this fails.
Outcome<void> Filesystem::Impl::prepare_upgrade(UniqueFd program, const std::string& layout) {
  if (!guardian_) {
    return Error{EOPNOTSUPP, "only a mount with recover=on can be upgraded"};
  }
  if (layout != program_layout()) {
    return Error{
        EPROTO, fmt::format("the new program has another layout of its tables ({}; running is {}): "
                            "unmount and mount again to use it",
                            layout, program_layout())};
  }
  if (phase() != Phase::serving) return Error{EBUSY, "the mount is about to end"};
  if (upgrading_.exchange(true)) return Error{EBUSY, "another upgrade is under way"};
  auto agreed = guardian_->ask_for_upgrade(program.get());
  // In doubt the guardian may be working with it still.
  if (agreed || agreed.error().code == ETIMEDOUT) {
    (void)program.release();
  } else {
    upgrading_.store(false);
  }
  return agreed;
}

}  // namespace passthroughfs
