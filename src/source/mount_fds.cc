// SPDX-License-Identifier: Apache-2.0
#include "source/mount_fds.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <new>
#include <sstream>
#include <string>
#include <vector>

#include "source/file_handle.h"
#include "source/sys.h"

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

// Where a mount is, relative to the directory `root`; "" if it is not below that.
std::string place_of(int mount_id, const std::string& root) {
  std::ifstream table("/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    int id = 0;
    std::string parent, device, inside, place;
    words >> id >> parent >> device >> inside >> place;
    if (!words || id != mount_id) continue;
    const std::string above = root.ends_with('/') ? root : root + '/';
    // A name with a blank is written in another way, and not looked for.
    return place.starts_with(above) ? place.substr(above.size()) : "";
  }
  return "";
}

// From the source's root and not by its path, which may lead into our own mount.
Result<UniqueFd> open_below(BorrowedFd root, const std::string& place) noexcept {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return own(static_cast<int>(::syscall(SYS_openat2, root.get(), place.c_str(), &how, sizeof how)));
}

}  // namespace

// Who takes over must not take what has these numbers by then for theirs.
MountFds::~MountFds() {
  MutexLock lock(mutex_);
  if (kept_ && owned_) kept_->clear();
}

Result<void> MountFds::keep(Regions& regions) {
  auto list = TRY(RegionList<Kept>::create("passthroughfs-mounts", kMostKept, regions));
  MutexLock lock(mutex_);
  for (const auto& [mount_id, fd] : fds_) (void)list.append({mount_id, fd.get()});
  kept_.emplace(std::move(list));
  owned_ = !regions.continued();
  return ok();
}

void MountFds::recover() {
  MutexLock lock(mutex_);
  if (!kept_) return;
  owned_ = true;
  for (const Kept& kept : kept_->entries()) {
    // What was remembered before this process was made is known, and owned, already.
    if (fds_.find(kept.mount_id) != fds_.end()) continue;
    // Otherwise the record is damaged.
    const auto handle = FileHandle::of(BorrowedFd(kept.fd));
    if (handle && handle->mount_id == kept.mount_id) fds_.emplace(kept.mount_id, UniqueFd(kept.fd));
  }
}

void MountFds::find_again(BorrowedFd root) {
  std::vector<int> ids;
  {
    MutexLock lock(mutex_);
    if (!kept_) return;
    for (const Kept& kept : kept_->entries()) ids.push_back(kept.mount_id);
    kept_->clear();
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  const auto of_root = FileHandle::of(root);
  std::string path(PATH_MAX, '\0');
  const ssize_t size = ::readlink(sys::ProcFdPath(root).c_str(), path.data(), path.size());
  path.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  for (const int id : ids) {
    if (of_root && of_root->mount_id == id) {
      (void)remember(id, root);
      continue;
    }
    const std::string place = place_of(id, path);
    if (place.empty()) continue;
    const auto directory = open_below(root, place);
    const auto handle = directory ? FileHandle::of(directory->borrow()) : directory.error();
    if (handle && handle->mount_id == id) (void)remember(id, directory->borrow());
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
