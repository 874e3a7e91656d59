// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/handover.h"
#include "base/mutex.h"
#include "channel/mount.h"
#include "control/server.h"
#include "control/session_target.h"
#include "embed/mount_options.h"
#include "embed/observation.h"
#include "embed/unmount_helper.h"
#include "embed/upgrade.h"
#include "guard/guardian.h"
#include "guard/service_manager.h"
#include "passthroughfs/filesystem.h"
#include "proto/mount_point.h"
#include "session/session.h"

namespace passthroughfs {

// One mount in its process or processes: filesystem.cc has its life as such, guarded.cc what is
// different with a guardian, takeover.cc how it comes from one program to another, revival.cc how
// it outlives all of its processes.
class Filesystem::Impl {
 public:
  Impl(std::string source, std::string mountpoint) {
    config_.source = std::move(source);
    config_.mountpoint = std::move(mountpoint);
  }

  Outcome<void> configure(std::string_view option, std::string_view value) {
    if (phase() != Phase::configuring) {
      return Error{EINVAL, "options cannot change once the file system is mounted"};
    }
    return apply_mount_option(config_, option, value, !value.empty());
  }

  Outcome<void> mount();
  Outcome<void> go_on(const Inheritance& from);
  Outcome<void> run();
  Outcome<void> stop();

  [[nodiscard]] bool is_guarded() const noexcept { return guardian_ != nullptr; }
  void trace_requests(bool traced) noexcept { config_.trace = traced; }
  void dedicate_process(bool dedicated) noexcept { dedicated_ = dedicated; }
  void offer_control(bool offered) noexcept { control_ = offered; }
  void notify_service_manager(bool told) noexcept { notify_ = told; }
  void observe(std::function<void(const Change&)> observer) { observer_ = std::move(observer); }
  void offer_upgrade(std::vector<std::string> arguments, std::map<std::string, int> descriptors) {
    arguments_ = std::move(arguments);
    left_descriptors_ = std::move(descriptors);
  }

 private:
  // Only forwards. `stopping` is reached from `serving` by stop().
  enum class Phase { configuring, serving, stopping, ended };

  Phase phase() {
    MutexLock lock(mutex_);
    return phase_;
  }
  void end() {
    MutexLock lock(mutex_);
    phase_ = Phase::ended;
    changed_.notify_all();
  }
  bool wait_for_end(std::chrono::steady_clock::duration patience) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    MutexLock lock(mutex_);
    while (phase_ != Phase::ended) {
      if (changed_.wait_until(mutex_, deadline) == std::cv_status::timeout) break;
    }
    return phase_ == Phase::ended;
  }
  // The mount point may carry another mount by now, which is none of our business. As long as the
  // connection lives no other mount has the number.
  bool is_mounted() const { return device_at(config_.mountpoint.c_str()) == device_; }
  // Once nobody serves it any more; `connected`: whether the connection has not ended.
  void remove_dead_mount(bool connected);
  Outcome<void> mount_now();
  void find_manager();
  void tell_manager(std::string_view lines) {
    if (manager_ && !is_server_) manager_->tell(lines);
  }
  Outcome<void> start_here();
  Outcome<void> start_guarded();
  Outcome<void> create_guardian(const Handover* from);
  int serve_guarded(bool again);
  [[nodiscard]] Handover hand_over() const;
  Outcome<void> take_over(const Handover& from);
  Outcome<void> adopt_session(const Handover& from);
  // What the service manager has of a mount that was served before; nullopt: nothing that could be
  // gone on with, and what there was is given back.
  std::optional<Handover> find_kept();
  [[nodiscard]] std::string obstacle(const Handover& kept, int connection) const;
  Outcome<void> revive(const Handover& from);
  void give_kept_up(const std::string& why);
  Outcome<void> begin_anew(const Error& reason);
  void take_mount_away();
  [[nodiscard]] std::map<std::string, int> to_be_kept() const;
  void keep_with_manager();
  void leave_session_behind() noexcept;
  Result<void> keep_handover();
  void discard_kept();
  Errno become(int program) const;
  Outcome<void> prepare_upgrade(UniqueFd program, const std::string& layout);
  Outcome<void> begin_serving(const Session::Takeover& takeover);
  Outcome<void> watch();
  void start_control();
  // Cuts the connection: every request that waits, and every later one, fails.
  Result<void> abort_connection() const;
  Result<void> detach(bool lazy) {
    if (helper_ != nullptr) {
      auto done = helper_->unmount(config_.mountpoint, lazy);
      if (done || !(done.error() == EPIPE)) return done;
    }
    return unmount(config_.mountpoint, lazy);
  }

  // Set before mount(), constant afterwards.
  MountConfig config_;
  bool dedicated_ = false;
  bool control_ = true;
  bool notify_ = false;
  std::function<void(const Change&)> observer_;
  std::vector<std::string> arguments_;  // for another program; empty: none can take over
  std::map<std::string, int> left_descriptors_;

  Mutex mutex_;
  ConditionVariable changed_;
  Phase phase_ PFS_GUARDED_BY(mutex_) = Phase::configuring;

  Mutex stop_mutex_;  // one stop() at a time; taken before mutex_
  // Constant while serving.
  std::unique_ptr<Session> session_;
  std::unique_ptr<UnmountHelper> helper_;
  std::unique_ptr<SessionTarget> target_;
  std::unique_ptr<ControlServer> server_;
  std::unique_ptr<Observation> observation_;
  dev_t device_ = 0;
  std::unique_ptr<ServiceManager> manager_;               // that wants to be told
  std::map<std::string, std::string> manager_variables_;  // by which it was found
  std::vector<std::string> kept_names_;                   // of what it has of this mount
  std::unique_ptr<Guardian> guardian_;                    // with recover=on
  std::string unrecoverable_;                             // why there is none though it was wanted
  std::atomic<bool> upgrading_{false};                    // in the server
  bool is_new_program_ = false;  // another one would go on if this one cannot serve
  bool is_server_ = false;       // of the guardian's; constant once there are threads
};

}  // namespace passthroughfs
