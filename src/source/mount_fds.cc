// SPDX-License-Identifier: Apache-2.0
#include "source/mount_fds.h"

#include <fcntl.h>

namespace passthroughfs {

Result<void> MountFds::remember(int mount_id, BorrowedFd directory) noexcept {
  UniqueFd fd = TRY(own(::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
  MutexLock lock(mutex_);
  fds_.try_emplace(mount_id, std::move(fd));
  return ok();
}

bool MountFds::knows(int mount_id) const noexcept {
  MutexLock lock(mutex_);
  return fds_.find(mount_id) != fds_.end();
}

Result<BorrowedFd> MountFds::find(int mount_id) const noexcept {
  MutexLock lock(mutex_);
  const auto found = fds_.find(mount_id);
  if (found == fds_.end()) return Err(ENOENT);
  return found->second.borrow();
}

}  // namespace passthroughfs
