// SPDX-License-Identifier: Apache-2.0
#include "ops/open_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "ops/mapped.h"

namespace passthroughfs {

void leave_access_times(const MountState& state, BorrowedFd fd) noexcept {
  if (!state.config.noatime || state.source.without_atime()) return;
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags >= 0) (void)::fcntl(fd.get(), F_SETFL, flags | O_NOATIME);
}

Result<UniqueFd> reopen_direct(MountState& state, BorrowedFd fd) noexcept {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0) return Errno::last();
  return state.source.reopen(fd, (flags & (O_ACCMODE | O_APPEND)) | O_DIRECT);
}

Result<OpenFile> OpenFile::of(OpContext& context, NodeId node, std::uint64_t fh,
                              int access) noexcept {
  OpenFile out;
  if (context.state.config.handles == HandleMode::table) {
    out.handle_ = TRY(context.state.handles->get(fh, node));
    TRY(ensure_descriptor(context.state, out.handle_));
    return out;
  }
  const InodeRef inode = TRY(context.state.inodes->get(node));
  // Anything but a regular file or directory could block or act when opened here.
  if (inode->type != S_IFREG && inode->type != S_IFDIR) return Err(EBADF);
  const auto open = [&](int flags) {
    return with_descriptors(context.state,
                            [&] { return context.state.source.reopen(inode.fd(), flags); });
  };
  int flags = access & ~O_APPEND;
  auto opened = open(flags);
  // A source without O_DIRECT; through its page cache the data is the same.
  if (!opened && opened.error() == EINVAL && (flags & O_DIRECT) != 0) {
    flags &= ~O_DIRECT;
    opened = open(flags);
  }
  // An append-only file.
  if (!opened && opened.error() == EPERM && (access & O_APPEND) != 0) {
    opened = open(flags | O_APPEND);
  }
  out.own_ = TRY(std::move(opened));
  leave_access_times(context.state, out.own_.borrow());
  return out;
}

Result<void> ensure_descriptor(MountState& state, const HandleRef& handle) noexcept {
  if (handle.fd().valid()) return ok();
  TRY(still_there(handle));
  const InodeRef inode = TRY(state.inodes->get(handle->node));
  const int flags = static_cast<int>(handle->flags) & (O_ACCMODE | O_NOATIME);
  UniqueFd fd =
      TRY(with_descriptors(state, [&] { return state.source.reopen(inode.fd(), flags); }));
  int none = -1;
  if (handle->fd.compare_exchange_strong(none, fd.get(), std::memory_order_acq_rel)) {
    (void)fd.release();
  }
  return ok();
}

Result<void> still_there(const HandleRef& handle) noexcept {
  switch (handle->missing.load(std::memory_order_relaxed)) {
    case Missing::nothing: return ok();
    case Missing::lock: return Err(EIO);
    default: return Err(ESTALE);
  }
}

// As open() had it, but for what only an open does (O_TRUNC).
Result<void> open_again(MountState& state, const HandleRef& handle) noexcept {
  if (!handle.fd().valid()) {
    const InodeRef inode = TRY(state.inodes->get(handle->node));
    const bool directory = handle->kind == HandleKind::directory;
    if (inode->type != (directory ? S_IFDIR : S_IFREG)) return Err(ESTALE);
    int flags = static_cast<int>(handle->flags) & (O_ACCMODE | O_NOATIME);
    if (directory) flags = O_RDONLY | O_DIRECTORY | (flags & O_NOATIME);
    const auto open = [&](int how) {
      return with_descriptors(state, [&] { return state.source.reopen(inode.fd(), how); });
    };
    Result<UniqueFd> fd = Err(EPERM);
    // With writeback pages are read through any open, see make_readable().
    if (state.config.writeback && (flags & O_ACCMODE) == O_WRONLY) {
      fd = open((flags & ~O_ACCMODE) | O_RDWR);
    }
    if (!fd) fd = open(flags);
    if (!fd && fd.error() == EPERM && (flags & O_NOATIME) != 0) {
      flags &= ~O_NOATIME;
      fd = open(flags);
    }
    if (!fd && fd.error() == EPERM && (handle->flags & O_APPEND) != 0) {
      fd = open(flags | O_APPEND);
      if (fd) handle->append_fd.store(1);
    }
    if (!fd) return fd.error();
    leave_access_times(state, fd->borrow());
    handle->fd.store(fd->release(), std::memory_order_release);
  }
  const Flocked flocked = handle->flocked.load();
  // One that was being changed: the request comes again.
  if (flocked != Flocked::shared && flocked != Flocked::exclusive) return ok();
  const int operation = flocked == Flocked::shared ? LOCK_SH : LOCK_EX;
  return check_void(::flock(handle.fd().get(), operation | LOCK_NB));
}

bool was_released(OpContext& context, std::uint64_t fh) noexcept {
  if (!context.repeat.again || context.state.handles->node_of(fh) == context.node_id()) {
    return false;
  }
  context.state.locks.drop_handle(context.node_id(), fh);
  return true;
}

Result<void> close_handle(MountState& state, NodeId node, std::uint64_t fh) noexcept {
  // Without its descriptor: a close must not fail, nor lose count, for want of one.
  auto inode = state.inodes->pin(node);
  bool file = false;
  bool passthrough = false;
  std::uint32_t flags = 0;
  {
    const HandleRef handle = TRY(state.handles->get(fh, node));
    file = handle->kind == HandleKind::file;
    passthrough = handle->io == HandleIo::passthrough;
    flags = handle->flags;
  }
  TRY(state.handles->release(fh, node));
  if (inode && file) {
    state.backings.end_open(*inode, passthrough);
    if (passthrough && (flags & O_ACCMODE) == O_RDWR) {
      end_mappable(*inode);
      if (state.journal && inode.value()->mappable_opens.load() == 0) {
        state.journal->may_be_mapped(*inode);
      }
    }
  }
  return ok();
}

}  // namespace passthroughfs
