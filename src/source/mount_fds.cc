// SPDX-License-Identifier: Apache-2.0
#include "source/mount_fds.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <new>

#include "source/file_handle.h"

namespace passthroughfs {
namespace {

// A handle of these opens only while the inode is cached, which the descriptor that it is to
// replace was the reason for.
bool forgets_inodes(BorrowedFd fd) noexcept {
  constexpr long kFuseMagic = 0x65735546;
  struct statfs fs;
  if (::fstatfs(fd.get(), &fs) < 0) return true;
  return fs.f_type == kFuseMagic || fs.f_type == MSDOS_SUPER_MAGIC;
}

}  // namespace

// Who takes over must not take what has these numbers by then for theirs.
MountFds::~MountFds() {
  MutexLock lock(mutex_);
  if (kept_) kept_->clear();
}

Result<void> MountFds::keep(Regions& regions) {
  auto list = TRY(RegionList<Kept>::create("passthroughfs-mounts", kMostKept, regions));
  MutexLock lock(mutex_);
  for (const auto& [mount_id, fd] : fds_) (void)list.append({mount_id, fd.get()});
  kept_.emplace(std::move(list));
  return ok();
}

void MountFds::recover() {
  MutexLock lock(mutex_);
  if (!kept_) return;
  for (const Kept& kept : kept_->entries()) {
    // What was remembered before this process was made is known, and owned, already.
    if (fds_.find(kept.mount_id) != fds_.end()) continue;
    // Otherwise the record is damaged.
    const auto handle = FileHandle::of(BorrowedFd(kept.fd));
    if (handle && handle->mount_id == kept.mount_id) fds_.emplace(kept.mount_id, UniqueFd(kept.fd));
  }
}

Result<void> MountFds::remember(int mount_id, BorrowedFd directory) noexcept {
  UniqueFd fd = TRY(own(::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
  if (forgets_inodes(fd.borrow())) return Err(EOPNOTSUPP);
  const FileHandle handle = TRY(FileHandle::of(directory));
  // Not O_DIRECTORY: Linux 6.11 lets some open directories by handle who cannot open files so.
  TRY(handle.open(fd.borrow()));
  try {
    MutexLock lock(mutex_);
    const auto [at, added] = fds_.try_emplace(mount_id, std::move(fd));
    if (added && kept_ && !kept_->append({mount_id, at->second.get()})) {
      fds_.erase(at);
      return Err(ENOSPC);
    }
  } catch (const std::bad_alloc&) {
    return Err(ENOMEM);
  }
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
