// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>

#include "base/fd.h"
#include "base/mutex.h"
#include "base/result.h"

namespace passthroughfs {

// One ordinary descriptor per mount below the source, which open_by_handle_at(2) needs.
// Thread-safe.
class MountFds {
 public:
  // Remembers the mount that `directory` (O_PATH, a directory) is on, if what lies on it can be
  // opened by handle again. Otherwise its inodes keep their descriptors: EACCES: it cannot be
  // opened for reading; EPERM: no CAP_DAC_READ_SEARCH; EOPNOTSUPP: the file system has handles, but
  // opens only what it has in memory anyway.
  Result<void> remember(int mount_id, BorrowedFd directory) noexcept PFS_EXCLUDES(mutex_);

  [[nodiscard]] bool knows(int mount_id) const noexcept PFS_EXCLUDES(mutex_);

  // The descriptor of a mount, owned here for the life of this object. ENOENT: unknown.
  [[nodiscard]] Result<BorrowedFd> find(int mount_id) const noexcept PFS_EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  std::map<int, UniqueFd> fds_ PFS_GUARDED_BY(mutex_);
};

}  // namespace passthroughfs
