// SPDX-License-Identifier: Apache-2.0
//
// How a mount outlives all of its processes: the service manager keeps what the next start needs.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include "base/log.h"
#include "embed/filesystem_impl.h"
#include "guard/remains.h"
#include "passthroughfs/client.h"
#include "proto/mount_point.h"

namespace passthroughfs {
namespace {

// The variables by which the manager hands over what it has kept.
constexpr std::array kListenVariables{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"};

std::string in_one_text(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += fmt::format("{}:{} ", word.size(), word);
  return out;
}

// The device of the mount that it serves; `otherwise`, where the kernel does not say.
dev_t device_of(int connection, dev_t otherwise) {
  constexpr std::string_view kLine = "fuse_connection:";
  std::ifstream lines(fmt::format("/proc/self/fdinfo/{}", connection));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(kLine)) continue;
    return makedev(0,
                   static_cast<unsigned>(std::strtoul(line.c_str() + kLine.size(), nullptr, 10)));
  }
  return otherwise;
}

// The device of a mount of ours that nobody serves; 0: there is none.
dev_t unserved_mount_at(const std::string& path) {
  const auto mount = find_mount_point(path);
  if (!mount || !mount->is_root || mount->fs_type != "fuse.passthroughfs") return 0;
  const auto client = Client::connect(mount->path);
  return !client && client.error().code == ECONNREFUSED ? mount->device : 0;
}

}  // namespace

// ---- before: to the manager ---------------------------------------------------------------------

std::map<std::string, int> Filesystem::Impl::to_be_kept() const {
  std::map<std::string, int> out = hand_over().named_descriptors();
  out.erase(handed::kUnmountSocket);
  for (const auto& [name, fd] : left_descriptors_) out.erase(name);
  return out;
}

// The connection last: should the manager take fewer than there are it ends with the processes, and
// nobody waits for a server that cannot come.
void Filesystem::Impl::keep_with_manager() {
  if (!manager_) return;
  std::map<std::string, int> all = to_be_kept();
  if (const auto room = manager_->room(); room && *room < all.size() + 1) {
    if (*room == 0) return;
    log_warning(
        "the service manager keeps {} descriptors and {} are needed: the mount does not outlive "
        "the end of all of its processes (FileDescriptorStoreMax=)",
        *room, all.size() + 1);
    return;
  }
  const auto connection = all.extract(handed::kConnection);
  kept_names_ = {handed::kKeptHandover};
  Result<void> kept = keep_handover();
  const auto keep = [&](const std::string& name, int fd) {
    kept_names_.push_back(name);
    if (kept) kept = manager_->store(name, fd);
  };
  for (const auto& [name, fd] : all) keep(name, fd);
  keep(connection.key(), connection.mapped());
  if (!kept) {
    log_warning("the service manager cannot be given what it is to keep: {}",
                kept.error().to_string());
    discard_kept();
  }
}

// In the place of what it has: another program, which took over since, may say more.
Result<void> Filesystem::Impl::keep_handover() {
  if (!manager_) return ok();
  Handover text = hand_over();
  // It names what has to be there again.
  const std::map<std::string, int> kept = to_be_kept();
  for (const auto& [name, fd] : text.named_descriptors()) {
    if (!kept.contains(name)) text.put_descriptor(name, -1);
  }
  text.put_text(handed::kArguments, in_one_text(arguments_));
  const UniqueFd file = TRY(text.write());
  TRY(manager_->discard(handed::kKeptHandover));
  return manager_->store(handed::kKeptHandover, file.get());
}

void Filesystem::Impl::discard_kept() {
  if (manager_) {
    // It takes its time to say that it does not listen, and is not asked again and again then.
    (void)std::all_of(kept_names_.begin(), kept_names_.end(), [this](const std::string& name) {
      return static_cast<bool>(manager_->discard(name));
    });
  }
  kept_names_.clear();
}

// ---- after: from the manager --------------------------------------------------------------------

std::optional<Handover> Filesystem::Impl::find_kept() {
  if (!manager_) return std::nullopt;
  const std::map<std::string, int> kept = kept_descriptors();
  const auto file = kept.find(handed::kKeptHandover);
  const auto connection = kept.find(handed::kConnection);
  // Others are not ours.
  if (file == kept.end() && connection == kept.end()) return std::nullopt;
  for (const char* name : kListenVariables) (void)::unsetenv(name);
  std::optional<Handover> found;
  if (file != kept.end()) {
    if (auto read = Handover::read(BorrowedFd(file->second))) found = std::move(*read);
  }
  std::map<std::string, int> named;
  if (found) named = found->named_descriptors();
  for (const auto& [name, fd] : kept) {
    if (found && !named.contains(name) && name != handed::kKeptHandover) continue;
    (void)::fcntl(fd, F_SETFD, FD_CLOEXEC);
    kept_names_.push_back(name);
  }
  std::string why = "it is not all there";
  if (found && connection != kept.end()) {
    // What the numbers were in the process that is gone is of no meaning here.
    for (const auto& [name, fd] : named) found->put_descriptor(name, -1);
    for (const std::string& name : kept_names_) found->put_descriptor(name, kept.at(name));
    // The number is another mount's by now if it has ended.
    const dev_t said = found->number(handed::kMountDevice).value_or(0);
    if (is_connected(BorrowedFd(connection->second))) device_ = device_of(connection->second, said);
    const bool whole = std::all_of(named.begin(), named.end(),
                                   [&](const auto& one) { return kept.contains(one.first); });
    if (whole && (device_ == 0 || device_ == said)) why = obstacle(*found, connection->second);
  }
  if (why.empty()) return found;
  // As far as it is there: nobody may wait for it any longer.
  if (const auto page = kept.find(Guardian::kPageName); page != kept.end()) {
    constexpr std::chrono::seconds kPatience{30};
    (void)end_processes_that_map(BorrowedFd(page->second), kPatience);
  }
  const std::vector<std::string> names = kept_names_;
  give_kept_up(why);
  for (const std::string& name : names) (void)::close(kept.at(name));
  return std::nullopt;
}

// Why the mount cannot be gone on with; "": it can.
std::string Filesystem::Impl::obstacle(const Handover& kept, int connection) const {
  if (!is_connected(BorrowedFd(connection))) return "that mount has ended";
  if (kept.text(handed::kLayout) != program_layout()) return "its tables are of another layout";
  const auto at = kept.text(handed::kMountpoint);
  if (!at || device_at(at->c_str()) != device_) return "it is not mounted there any more";
  if (kept.text(handed::kArguments) != in_one_text(arguments_)) return "its options were others";
  return "";
}

Outcome<void> Filesystem::Impl::revive(const Handover& from) {
  constexpr std::chrono::seconds kPatience{60};
  const auto page = from.descriptor(Guardian::kPageName);
  if (page && !end_processes_that_map(BorrowedFd(*page), kPatience)) {
    // With what is kept the next start can try again.
    return Error{EBUSY,
                 fmt::format("{}: processes of the mount as it was do not end: they wait for "
                             "the disk",
                             config_.mountpoint)};
  }
  // Before /dev/fuse would be open, were this a new mount; the helper closes what it inherits.
  if (geteuid() != 0) {
    if (auto helper = UnmountHelper::start()) helper_ = std::move(*helper);
  }
  if (auto taken = take_over(from); !taken) return begin_anew(taken.error());
  std::string message;
  if (auto revived = session_->revive(message); !revived) {
    return begin_anew(Error{revived.error().value(), message});
  }
  guardian_->renew();
  if (auto started = guardian_->start(); !started) {
    // The manager starts the next one; with a store that is empty.
    give_kept_up(started.error().message);
    leave_session_behind();
    return started;
  }
  (void)keep_handover();  // if not, the next start says so
  MutexLock lock(mutex_);
  phase_ = Phase::serving;
  return {};
}

// Nobody waits for it: else it would end with the last descriptor, and the manager has one.
void Filesystem::Impl::take_mount_away() {
  if (is_mounted()) cut_connection(config_.mountpoint);
  (void)abort_connection();
  if (!is_mounted()) return;
  if (auto gone = detach(true); !gone) {
    log_warning("cannot unmount {}: {}", config_.mountpoint, gone.error().to_string());
  }
}

void Filesystem::Impl::give_kept_up(const std::string& why) {
  log_warning("{}: what the service manager has kept cannot be gone on with, {}: mounting anew",
              config_.mountpoint, why);
  if (device_ == 0) device_ = unserved_mount_at(config_.mountpoint);
  if (device_ != 0) take_mount_away();
  device_ = 0;
  discard_kept();
}

// Nothing of what the memory has led to stays in a process that is to serve. Returns only if there
// is no way to begin anew.
Outcome<void> Filesystem::Impl::begin_anew(const Error& reason) {
  give_kept_up(reason.message);
  for (const auto& [name, value] : manager_variables_)
    (void)::setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> arguments;
  for (std::string& argument : arguments_) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  (void)::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  if (!arguments_.empty()) (void)::execv("/proc/self/exe", arguments.data());
  if (session_) leave_session_behind();
  return reason;
}

// What its tables tell of is another process's: a child's, or one's that is gone.
void Filesystem::Impl::leave_session_behind() noexcept {
  // Reachable until the process ends; volatile, or nobody would notice if it was not stored.
  [[maybe_unused]] static Session* volatile left_behind = nullptr;
  session_->leave();
  left_behind = session_.release();
}

}  // namespace passthroughfs
