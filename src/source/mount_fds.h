// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "base/fd.h"
#include "base/mutex.h"
#include "base/region_list.h"
#include "base/result.h"

namespace passthroughfs {

// One ordinary descriptor per mount below the source, which open_by_handle_at(2) needs.
// Thread-safe.
class MountFds {
 public:
  MountFds() = default;
  MountFds(const MountFds&) = delete;
  MountFds& operator=(const MountFds&) = delete;
  ~MountFds();

  // Makes what is remembered outlive the process: a successor inherits descriptors and memory.
  // Beyond kMostKept mounts nothing is remembered then, since inodes that have given up their
  // descriptors would be lost with the process. Errors: those of Regions::make.
  Result<void> keep(Regions& regions) PFS_EXCLUDES(mutex_);
  static constexpr std::uint32_t kMostKept = 4096;
  // For a process that takes over, before any other thread exists. std::bad_alloc.
  void recover() PFS_EXCLUDES(mutex_);
  // For a process that has the memory and none of the descriptors: opens the mounts again that are
  // still there below `root`. What lies on others cannot be opened by handle any more. It may be
  // another mount that has a number now, so what is opened has to be looked at. std::bad_alloc.
  void find_again(BorrowedFd root) PFS_EXCLUDES(mutex_);
  // Of what is kept, before recover() as well as after it.
  template <typename Visit>
  void for_each_descriptor(Visit&& visit) const PFS_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (!kept_) return;
    for (const Kept& kept : kept_->entries()) visit(kept.fd);
  }

  // Remembers the mount that `directory` (O_PATH, a directory) is on, if what lies on it can be
  // opened by handle again. Otherwise its inodes keep their descriptors: EACCES: it cannot be
  // opened for reading; EPERM: no CAP_DAC_READ_SEARCH; EOPNOTSUPP: the file system has handles, but
  // opens only what it has in memory anyway; ENOSPC: see keep().
  Result<void> remember(int mount_id, BorrowedFd directory) noexcept PFS_EXCLUDES(mutex_);

  [[nodiscard]] bool knows(int mount_id) const noexcept PFS_EXCLUDES(mutex_);

  // The descriptor of a mount, owned here for the life of this object. ENOENT: unknown.
  [[nodiscard]] Result<BorrowedFd> find(int mount_id) const noexcept PFS_EXCLUDES(mutex_);

 private:
  struct Kept {
    int mount_id, fd;
  };

  mutable Mutex mutex_;
  std::optional<RegionList<Kept>> kept_ PFS_GUARDED_BY(mutex_);
  bool owned_ PFS_GUARDED_BY(mutex_) = true;  // kept_: not another program's, before recover()
  std::map<int, UniqueFd> fds_ PFS_GUARDED_BY(mutex_);
};

}  // namespace passthroughfs
