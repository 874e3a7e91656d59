// SPDX-License-Identifier: Apache-2.0
#include "cli/service.h"

#include <fmt/core.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <ctime>
#include <string>

#include "base/log.h"
#include "channel/mount.h"
#include "guard/guardian.h"
#include "guard/process.h"
#include "guard/remains.h"
#include "guard/service_manager.h"
#include "passthroughfs/client.h"
#include "proto/mount_point.h"

namespace passthroughfs {
namespace {

std::string resolved(const std::string& path) {
  std::array<char, PATH_MAX> room;
  return ::realpath(path.c_str(), room.data()) == nullptr ? path : room.data();
}

bool lives(std::uint32_t process) noexcept {
  return process != 0 && has_memory(static_cast<pid_t>(process));
}

enum class Found { joined, nothing_yet, nothing };

// `lives_on`: whether the mount outlives its processes, so that a dead one is not taken away.
Found rejoin(const MountArguments& arguments, bool lives_on) {
  const auto mount = find_mount_point(arguments.config.mountpoint);
  if (!mount || !mount->is_root || mount->fs_type != "fuse.passthroughfs") return Found::nothing;
  auto client = Client::connect(mount->path);
  if (!client) {
    if (lives_on) return Found::nothing_yet;
    if (client.error().code != ECONNREFUSED) return Found::nothing;
    log_warning("{}: a mount whose processes are all gone is taken away", mount->path);
    (void)unmount(mount->path, true);  // if not, mounting says that it is busy
    return Found::nothing;
  }
  const auto info = client->info();
  const auto stats = client->stats();
  if (!info || !stats) return lives_on ? Found::nothing_yet : Found::nothing;
  if (!stats->recover || resolved(info->source) != resolved(arguments.config.source)) {
    return Found::nothing;
  }
  if (lives_on && !lives(stats->guardian_pid)) {
    // Its deputy will be the guardian in a moment. A server that nobody watches is not left to
    // itself, where everything can be gone on with.
    return lives(stats->deputy_pid) ? Found::nothing_yet : Found::nothing;
  }
  const auto manager = ServiceManager::from_environment();
  if (!manager) return Found::nothing;
  log_info("{} is served still: process {} watches it", mount->path, stats->guardian_pid);
  manager->tell(fmt::format("MAINPID={}\nREADY=1\nSTATUS=serving {} at {}", stats->guardian_pid,
                            one_line(info->source), one_line(mount->path)));
  return Found::joined;
}

}  // namespace

bool rejoin_service(const MountArguments& arguments) {
  if (!arguments.foreground || std::getenv("NOTIFY_SOCKET") == nullptr) return false;
  const auto kept = kept_descriptors();
  const auto page = kept.find(Guardian::kPageName);
  if (page == kept.end()) return rejoin(arguments, false) == Found::joined;
  // A deputy may be about to take the guardian's place, and a server the place of another one.
  constexpr std::chrono::seconds kPatience{5};
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!processes_that_map(BorrowedFd(page->second)).empty() &&
         std::chrono::steady_clock::now() < until) {
    const Found found = rejoin(arguments, true);
    if (found != Found::nothing_yet) return found == Found::joined;
    constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 20'000'000};
    (void)::nanosleep(&kPause, nullptr);
  }
  return false;
}

}  // namespace passthroughfs
