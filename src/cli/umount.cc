// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>

#include "base/fd.h"
#include "channel/mount.h"
#include "cli/commands.h"
#include "cli/holders.h"
#include "cli/parse.h"
#include "cli/report.h"
#include "passthroughfs/client.h"
#include "proto/mount_point.h"
#include "proto/socket_path.h"
#include "proto/text.h"

namespace passthroughfs {
namespace {

constexpr std::chrono::seconds kPatience{30};

// The daemon of a mount, to wait for its end.
class Daemon {
 public:
  explicit Daemon(Client client) : client_(std::move(client)) {
    int pid = client_.daemon_pid();
    if (const auto stats = client_.stats();
        stats && stats->recover && pid > 0 && static_cast<int>(stats->server_pid) == pid) {
      pid = static_cast<int>(stats->guardian_pid);  // the last of its processes to end
    }
    if (pid > 0) {
      // Held before the unmount, so that the number cannot come to mean another process.
      process_ = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    }
  }

  bool wait_for_end() {
    if (process_.valid()) {
      pollfd waited{process_.get(), POLLIN, 0};
      return poll(&waited, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) == 1;
    }
    // In a process namespace that is not ours: until its socket closes.
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (client_.info()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
  }

 private:
  Client client_;
  UniqueFd process_;
};

// What a daemon that died could not tidy up.
void remove_stale_socket(const MountPoint& mount) {
  for (const std::string& directory : socket_directories(mount.owner)) {
    (void)unlink(fmt::format("{}/{}", directory, socket_name(mount.device)).c_str());
  }
}

std::string busy_message(const MountPoint& mount) {
  constexpr std::size_t kShown = 4;
  const auto holders = find_holders(mount.device, kShown + 1);
  std::string text = fmt::format("{} is busy", mount.path);
  for (std::size_t i = 0; i < holders.size(); ++i) {
    text += i == 0 ? ": used by " : ", ";
    if (i == kShown) {
      text += "others";
      break;
    }
    text += fmt::format("{} (pid {}, {})", escape_for_terminal(holders[i].name), holders[i].pid,
                        holders[i].how);
  }
  return text;
}

std::string failure_message(const MountPoint& mount, Errno error) {
  if (error == EBUSY) return busy_message(mount);
  if (error == EPERM || error == EACCES) {
    return fmt::format("{}: only {} and root may unmount it", mount.path,
                       mount.owner_known ? fmt::format("user {}", mount.owner)
                                         : std::string("the user who mounted it"));
  }
  return fmt::format("cannot unmount {}: {}", mount.path, std::strerror(error.value()));
}

}  // namespace

int run_umount(Arguments arguments) {
  CommandLine command("Unmounts, and returns when the daemon has ended.", "passthroughfs umount");
  std::string mountpoint;
  command.option("MOUNTPOINT", mountpoint, "the mount").required();
  if (auto code = command.parse(arguments)) return *code;

  auto mount = find_mount_point(mountpoint);
  if (!mount) {
    report(mount.error().message);
    return kExitFailure;
  }
  std::optional<Daemon> daemon;
  bool dead = false;
  if (auto client = Client::connect(mountpoint)) {
    daemon.emplace(std::move(client).value());
  } else if (client.error().code == EINVAL || client.error().code == ENOTTY) {
    report(client.error().message);
    return kExitFailure;
  } else {
    dead = client.error().code == ECONNREFUSED;
  }
  if (mount->owner_known && geteuid() != 0 && geteuid() != mount->owner) {
    report(failure_message(*mount, Err(EPERM)));
    return kExitFailure;
  }
  if (auto done = unmount(mount->path, false); !done) {
    report(failure_message(*mount, done.error()));
    return kExitFailure;
  }
  if (dead) remove_stale_socket(*mount);
  if (daemon && !daemon->wait_for_end()) {
    report(fmt::format("{} is unmounted, but its daemon has not ended within {} s", mount->path,
                       kPatience.count()));
    return kExitFailure;
  }
  return kExitOk;
}

}  // namespace passthroughfs
