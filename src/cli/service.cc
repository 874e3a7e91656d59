// SPDX-License-Identifier: Apache-2.0
#include "cli/service.h"

#include <fmt/core.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <string>

#include "base/log.h"
#include "channel/mount.h"
#include "guard/service_manager.h"
#include "passthroughfs/client.h"
#include "proto/mount_point.h"

namespace passthroughfs {
namespace {

std::string resolved(const std::string& path) {
  std::array<char, PATH_MAX> room;
  return ::realpath(path.c_str(), room.data()) == nullptr ? path : room.data();
}

}  // namespace

bool rejoin_service(const MountArguments& arguments) {
  if (!arguments.foreground || std::getenv("NOTIFY_SOCKET") == nullptr) return false;
  const auto mount = find_mount_point(arguments.config.mountpoint);
  if (!mount || !mount->is_root || mount->fs_type != "fuse.passthroughfs") return false;
  auto client = Client::connect(mount->path);
  if (!client) {
    if (client.error().code != ECONNREFUSED) return false;
    log_warning("{}: a mount whose processes are all gone is taken away", mount->path);
    (void)unmount(mount->path, true);  // if not, mounting says that it is busy
    return false;
  }
  const auto info = client->info();
  const auto stats = client->stats();
  if (!info || !stats || !stats->recover ||
      resolved(info->source) != resolved(arguments.config.source)) {
    return false;
  }
  const auto manager = ServiceManager::from_environment();
  if (!manager) return false;
  log_info("{} is served still: process {} watches it", mount->path, stats->guardian_pid);
  manager->tell(fmt::format("MAINPID={}\nREADY=1\nSTATUS=serving {} at {}", stats->guardian_pid,
                            one_line(info->source), one_line(mount->path)));
  return true;
}

}  // namespace passthroughfs
