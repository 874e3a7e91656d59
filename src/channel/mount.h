// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace passthroughfs {

struct MountOptions {
  std::string mountpoint;  // absolute
  std::string fsname;
  std::string subtype = "passthroughfs";
  unsigned root_mode = 0040000;  // type bits of the source's root
  unsigned max_read = 0;         // 0: not limited
  bool read_only = false;
  bool allow_other = false;
  bool allow_root = false;  // enforced by the session; the kernel is given allow_other
  bool noatime = false;
  bool nodev = false;
  bool nosuid = false;
  bool noexec = false;
};

// Opens /dev/fuse and mounts it: by mount(2) when this process may (CAP_SYS_ADMIN), else through
// fusermount3, which hands the descriptor back over a socket. default_permissions is always on.
// Options that an older fusermount3 does not know are left out and the mount tried again. On
// failure `message` is one line for the user (no newline) and the errno says the same.
Result<UniqueFd> mount_fuse(const MountOptions& options, std::string& message);

// Detaches the mount point: umount2(2) as root, else `fusermount3 -u`. `lazy` as MNT_DETACH.
// Errors: EBUSY, EINVAL (not a mount point), EPERM.
Result<void> unmount(const std::string& mountpoint, bool lazy);

// Cuts the connection of what is mounted there: every request that waits, and every later one,
// fails. As root; otherwise nothing happens. It may be unmounted by that.
void cut_connection(const std::string& mountpoint) noexcept;

// Whether the kernel still serves somebody over this descriptor of /dev/fuse, or would: it has not
// ended, by an unmount or otherwise. Sends no request.
[[nodiscard]] bool is_connected(BorrowedFd device) noexcept;

}  // namespace passthroughfs
