// SPDX-License-Identifier: Apache-2.0
#include "passthroughfs/filesystem.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <utility>

#include "base/log.h"
#include "embed/filesystem_impl.h"
#include "embed/preflight.h"
#include "source/credentials.h"

namespace passthroughfs {
namespace {

// How long open files of a detached mount keep working after stop().
constexpr std::chrono::seconds kDetachedPatience{2};

MountOptions mount_options_of(const MountConfig& config, const Session& session) {
  MountOptions options;
  options.mountpoint = config.mountpoint;
  options.fsname = config.fsname.empty() ? config.source : config.fsname;
  if (!config.subtype.empty()) options.subtype = config.subtype;
  options.root_mode = session.root_mode();
  options.max_read = config.max_read;
  options.allow_other = config.allow_other;
  options.allow_root = config.allow_root;
  // What the source's own mount forbids stays forbidden, and shows in statvfs as it does there.
  const unsigned long imposed = session.source_mount_flags();
  options.read_only = config.read_only || (imposed & ST_RDONLY) != 0;
  options.noatime = config.noatime || (imposed & ST_NOATIME) != 0;
  options.nodev = config.nodev || (imposed & ST_NODEV) != 0;
  options.nosuid = config.nosuid || (imposed & ST_NOSUID) != 0;
  options.noexec = config.noexec || (imposed & ST_NOEXEC) != 0;
  return options;
}

// Whoever uses the mount gets its rights where it cannot act as him: a user's own are his to share,
// root's are not.
Outcome<void> check_rights(const MountConfig& config) {
  if (!config.allow_other && !config.allow_root) return {};
  const char* const obstacle = impersonation_obstacle();
  if (obstacle == nullptr || !has_rights_over_files()) return {};
  return Error{EPERM,
               fmt::format("{} would give other users the rights of this process, which cannot act "
                           "as them: {}",
                           config.allow_other ? "allow_other" : "allow_root", obstacle)};
}

}  // namespace

Result<void> Filesystem::Impl::abort_connection() const {
  const std::string path = fmt::format("/sys/fs/fuse/connections/{}/abort", minor(device_));
  UniqueFd fd = TRY(own(open(path.c_str(), O_WRONLY | O_CLOEXEC)));
  return check_void(write(fd.get(), "1", 1));
}

Outcome<void> Filesystem::Impl::mount() {
  if (phase() != Phase::configuring) return Error{EBUSY, "mounted before"};
  if (notify_) find_manager();
  const auto kept = find_kept();
  auto mounted = kept ? revive(*kept) : mount_now();
  if (!mounted) {
    tell_manager(fmt::format("STATUS={}\nERRNO={}", one_line(mounted.error().message),
                             mounted.error().code));
  } else {
    tell_manager(fmt::format("READY=1\nSTATUS=serving {} at {}", one_line(config_.source),
                             one_line(config_.mountpoint)));
  }
  return mounted;
}

void Filesystem::Impl::find_manager() {
  for (const char* name : ServiceManager::kVariables) {
    if (const char* const value = std::getenv(name)) manager_variables_.emplace(name, value);
  }
  manager_ = ServiceManager::from_environment();
}

Outcome<void> Filesystem::Impl::mount_now() {
  if (auto checked = preflight(config_); !checked) return checked;
  if (auto checked = check_rights(config_); !checked) return checked;
  if (config_.recover && !dedicated_) {
    return Error{EINVAL, "recover=on needs a process that does nothing else"};
  }

  std::string message;
  auto session = Session::create(config_, message);
  if (!session) return Error{session.error().value(), message};
  session_ = std::move(session).value();

  // Threads do not exist yet and /dev/fuse is not open yet.
  if (dedicated_ && geteuid() != 0) {
    auto helper = UnmountHelper::start();
    if (!helper) {
      return Error{helper.error().value(), "cannot fork: " + helper.error().to_string()};
    }
    helper_ = std::move(helper).value();
  }

  auto device = mount_fuse(mount_options_of(config_, *session_), message);
  if (!device) return Error{device.error().value(), message};
  device_ = device_at(config_.mountpoint.c_str());

  // From here on the mount exists: a failure has to take it away again.
  auto started = [&]() -> Outcome<void> {
    if (auto connected = session_->connect(std::move(device).value(), message); !connected) {
      return Error{connected.error().value(), message};
    }
    if (!config_.recover) return start_here();
    if (session_->can_be_recovered()) return start_guarded();
    unrecoverable_ = "recover=on needs a kernel that sends requests again (Linux 6.9)";
    log_warning("{}", unrecoverable_);
    return start_here();
  }();
  if (!started) {
    (void)detach(true);  // the reason of the failure is what the user needs to see
    discard_kept();
    session_.reset();
    helper_.reset();
  }
  return started;
}

Outcome<void> Filesystem::Impl::start_here() {
  if (dedicated_) prepare_process();
  Session::Takeover takeover;
  if (manager_ && manager_->watchdog_ns() != 0) {
    // The clock of steady_clock and of every sign.
    takeover.beat = [this] {
      manager_->ping(static_cast<std::uint64_t>(
          std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count()));
    };
    takeover.beat_every = std::chrono::nanoseconds(manager_->watchdog_ns() / 8);
  }
  return begin_serving(takeover);
}

Outcome<void> Filesystem::Impl::begin_serving(const Session::Takeover& takeover) {
  std::string message;
  if (auto serving = session_->serve(takeover, message); !serving) {
    return Error{serving.error().value(), message};
  }
  if (guardian_) guardian_->serving();
  {
    MutexLock lock(mutex_);
    phase_ = Phase::serving;
  }
  if (control_) start_control();
  if (observer_ && session_->changes() != nullptr) {
    observation_ = std::make_unique<Observation>(*session_->changes(), observer_);
  }
  return {};
}

void Filesystem::Impl::start_control() {
  SessionTarget::Processes processes;
  processes.prepare_upgrade = [this](UniqueFd program, const std::string& layout) {
    return prepare_upgrade(std::move(program), layout);
  };
  processes.upgrade = [this] {
    // What takes longer than this is sent again to the program that takes over.
    constexpr std::chrono::seconds kPatience{2};
    (void)session_->drain(kPatience);
    guardian_->leave_to_program();
  };
  const bool kept = !kept_names_.empty();
  if (guardian_) {
    processes.add_to_info = [this](MountInfo& info) {
      info.pid = static_cast<std::uint32_t>(guardian_->guardian_pid());
    };
    processes.add_to_stats = [this, kept](Statistics& stats) {
      stats.recover = true;
      stats.kept_by_manager = kept;
      stats.guardian_pid = static_cast<std::uint32_t>(guardian_->guardian_pid());
      stats.server_starts = guardian_->starts();
      stats.last_pause_ns = guardian_->last_pause();
      stats.deputy_pid = static_cast<std::uint32_t>(guardian_->deputy_pid());
      stats.upgrades = guardian_->upgrades();
      stats.upgrade_failure = guardian_->upgrade_failure();
      if (!guardian_->is_watched()) {
        stats.notes.emplace_back("the guardian is gone: the mount would not survive a crash now");
      }
    };
  }
  if (!unrecoverable_.empty()) {
    processes.add_to_stats = [this](Statistics& stats) { stats.notes.push_back(unrecoverable_); };
  }
  target_ = std::make_unique<SessionTarget>(
      *session_, [this] { return stop(); }, std::move(processes));
  auto server = ControlServer::start(device_, *target_);
  // The mount is worth more than its socket.
  if (!server) {
    log_warning("{}: {}", config_.mountpoint, server.error().message);
  } else {
    server_ = std::move(server).value();
  }
}

Outcome<void> Filesystem::Impl::run() {
  if (const Phase now = phase(); now == Phase::configuring) {
    return Error{EINVAL, "not mounted"};
  } else if (now == Phase::ended) {
    return {};
  }
  if (guardian_ && !is_server_) return watch();
  const Result<void> served = session_->wait();
  if (is_server_) guardian_->ending();
  tell_manager("STOPPING=1");
  bool stopped = false;
  {
    MutexLock lock(mutex_);
    stopped = phase_ == Phase::stopping;
  }
  end();
  observation_.reset();             // the record of changes has ended with the session
  server_.reset();                  // not under stop_mutex_: its thread may be in stop()
  MutexLock stopping(stop_mutex_);  // a stop() that is under way uses the helper
  remove_dead_mount(session_->is_connected());
  // A guardian's descriptors are not the server's to close.
  if (!is_server_) helper_.reset();
  if (!served && !stopped) {
    return Error{served.error().value(),
                 fmt::format("{}: the connection to the kernel ended: {}", config_.mountpoint,
                             served.error().to_string())};
  }
  return {};
}

// An aborted connection leaves one behind. One that has not ended is only told from others by the
// number: nobody serves it any more who could be asked.
void Filesystem::Impl::remove_dead_mount(bool connected) {
  const bool there = connected ? is_mounted() : is_dead_mount(config_.mountpoint.c_str(), device_);
  if (!there) return;
  if (auto gone = detach(true); !gone) {
    log_warning("cannot unmount {}: {}", config_.mountpoint, gone.error().to_string());
  }
}

Outcome<void> Filesystem::Impl::stop() {
  // The guardian's signals end the mount; its server does.
  if (guardian_ && !is_server_) return {};
  MutexLock one_at_a_time(stop_mutex_);
  {
    MutexLock lock(mutex_);
    if (phase_ != Phase::serving && phase_ != Phase::stopping) return {};
    phase_ = Phase::stopping;
  }
  tell_manager("STOPPING=1\nSTATUS=unmounting");
  if (is_mounted()) {
    Result<void> gone = detach(false);
    if (gone) return {};
    if (gone.error() == EBUSY) {
      log_warning("{} is busy: detached, open files keep working for {} s", config_.mountpoint,
                  kDetachedPatience.count());
      gone = detach(true);
    }
    if (!gone && is_mounted()) {
      return Error{gone.error().value(), fmt::format("cannot unmount {}: {}", config_.mountpoint,
                                                     gone.error().to_string())};
    }
  }
  // Detached by us or by others, or hidden under another mount: the last user ends it, or we do.
  if (wait_for_end(kDetachedPatience)) return {};
  log_warning("{} is still in use: cutting the connection", config_.mountpoint);
  if (auto cut = abort_connection(); !cut) {
    return Error{EBUSY, fmt::format("{} is detached and still in use", config_.mountpoint)};
  }
  return {};
}

Filesystem::Filesystem(std::string source, std::string mountpoint)
    : impl_(std::make_unique<Impl>(std::move(source), std::move(mountpoint))) {}

Filesystem::~Filesystem() {
  if (!impl_) return;
  (void)impl_->stop();  // nobody is left to tell
  (void)impl_->run();
}

Outcome<void> Filesystem::configure(std::string_view option, std::string_view value) {
  return impl_->configure(option, value);
}
void Filesystem::dedicate_process(bool dedicated) noexcept { impl_->dedicate_process(dedicated); }
void Filesystem::offer_control(bool offered) noexcept { impl_->offer_control(offered); }
void Filesystem::notify_service_manager(bool told) noexcept { impl_->notify_service_manager(told); }
void Filesystem::observe(std::function<void(const Change&)> observer) {
  impl_->observe(std::move(observer));
}
bool Filesystem::is_guarded() const noexcept { return impl_->is_guarded(); }
void Filesystem::trace_requests(bool traced) noexcept { impl_->trace_requests(traced); }
void Filesystem::offer_upgrade(std::vector<std::string> arguments,
                               std::map<std::string, int> descriptors) {
  impl_->offer_upgrade(std::move(arguments), std::move(descriptors));
}
Outcome<void> Filesystem::mount() { return impl_->mount(); }
Outcome<void> Filesystem::go_on(const Inheritance& from) { return impl_->go_on(from); }
Outcome<void> Filesystem::run() { return impl_->run(); }
Outcome<void> Filesystem::stop() { return impl_->stop(); }

}  // namespace passthroughfs
