// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "passthroughfs/result.h"

namespace passthroughfs {

// What is mounted at a path, found without asking the file system that is mounted there: its daemon
// may be dead or hang.
struct MountPoint {
  std::string path;      // absolute, without symbolic links
  dev_t device = 0;      // of the file system at the path
  bool is_root = false;  // the path is the root of a mount

  // From the mount table; empty when the mount is not in it (another namespace).
  std::string fs_type;       // "fuse.passthroughfs"
  std::string source;        // the second field of its name there
  std::string root = "/";    // what of the file system is mounted; not "/": by mount --bind
  bool owner_known = false;  // FUSE: who mounted it
  uid_t owner = 0;

  [[nodiscard]] bool is_fuse() const {
    return fs_type == "fuse" || std::string_view(fs_type).starts_with("fuse.");
  }
};

// Errors: ENOENT, ENOTDIR, EACCES on the way to the path.
Outcome<MountPoint> find_mount_point(const std::string& path);

// The device at the path, by one system call that sends the file system no request; 0 on failure.
[[nodiscard]] dev_t device_at(const char* path) noexcept;

// Whether a FUSE mount without a connection, left behind by one that ended otherwise than by an
// unmount, is at the path and has this device number. The number alone says nothing once a mount
// has gone: the kernel gives out the lowest that is free, so the next mount, of whatever type, gets
// it. This one function asks the file system that is there: a live one must not need the caller for
// its answer.
[[nodiscard]] bool is_dead_mount(const char* path, dev_t device) noexcept;

// A line of /proc/self/mountinfo for `device`, put into the fields; false when it has none.
// `mount_id` picks among several mounts of one device (0: the last).
bool parse_mount_table(std::string_view table, dev_t device, unsigned long mount_id,
                       MountPoint& found);

}  // namespace passthroughfs
