// SPDX-License-Identifier: Apache-2.0
#include "session/revival.h"

#include <cerrno>

#include "base/log.h"
#include "ops/open_file.h"

namespace passthroughfs {
namespace {

// Its user must not go on as if it was what it had been. Without a descriptor every use ends up
// where Handle::missing is looked at.
void take_away(RevivalRecord& record, const HandleRef& handle, Missing what) noexcept {
  handle->missing.store(what);
  for (auto* fd : {&handle->fd, &handle->direct_fd}) UniqueFd(fd->exchange(-1)).reset();
  record.lost_files.fetch_add(1);
}

void revive(MountState& state, RevivalRecord& record, const HandleRef& handle) noexcept {
  switch (handle->missing.load()) {
    case Missing::nothing:
      // In passthrough, and nothing has needed a descriptor of it here.
      if (!handle.fd().valid()) {
        const auto inode = state.inodes->get(handle->node);
        if (!inode && inode.error() == ESTALE) take_away(record, handle, Missing::file);
      }
      break;
    case Missing::descriptor:
      if (open_again(state, handle)) {
        handle->missing.store(Missing::nothing);
      } else if (handle.fd().valid()) {
        record.lost_locks.fetch_add(1);
        take_away(record, handle, Missing::lock);
      } else {
        take_away(record, handle, Missing::file);
      }
      break;
    default: break;  // since an earlier time
  }
}

// The open file that took the lock, and others of the same process.
void take_away_locked(MountState& state, RevivalRecord& record, const LockOwners::Origin& origin) {
  record.lost_locks.fetch_add(1);
  state.handles->for_each([&](std::uint64_t fh, const HandleRef& handle) {
    if (handle->node != origin.node || handle->kind != HandleKind::file) return;
    if (fh != origin.fh && handle->pid != origin.pid) return;
    if (handle->missing.load() == Missing::nothing) take_away(record, handle, Missing::lock);
  });
}

}  // namespace

Result<void> begin_revival(MountState& state, RevivalRecord& record, std::string& message) {
  record.to_do.store(1);
  if (auto forgotten = state.inodes->forget_descriptors(); !forgotten) {
    message = "the tables are not those of this source: " + forgotten.error().to_string();
    return forgotten;
  }
  state.handles->forget_descriptors();
  state.locks.forget_descriptors();
  state.source.mounts().find_again(state.source.root());
  record.revivals.fetch_add(1);
  return ok();
}

void revive_open_files(MountState& state, RevivalRecord& record) {
  if (record.to_do.load() == 0) return;
  const std::uint64_t files_before = record.lost_files.load();
  const std::uint64_t locks_before = record.lost_locks.load();
  state.handles->for_each(
      [&](std::uint64_t, const HandleRef& handle) { revive(state, record, handle); });
  for (const LockOwners::Origin& origin : state.locks.take_again(state.source, *state.handles)) {
    take_away_locked(state, record, origin);
  }
  record.lost_inodes.store(state.inodes->count_lost());
  record.to_do.store(0);
  const std::uint64_t files = record.lost_files.load() - files_before;
  const std::uint64_t locks = record.lost_locks.load() - locks_before;
  log_to(files + locks != 0 ? LogLevel::error : LogLevel::warning,
         "all processes of this mount were gone: {} of {} open files are lost, and the locks of {} "
         "owners; {} of {} inodes have to be looked up again",
         files, state.handles->open_count(), locks, record.lost_inodes.load(),
         state.inodes->known());
}

}  // namespace passthroughfs
