// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/context.h"

namespace passthroughfs {

// The open file that a request names, in both designs. handles=table: the pinned handle. stateless:
// the inode, opened for this request alone. `access`: O_RDONLY, O_WRONLY or O_RDWR, what the
// request needs, and O_DIRECT and O_APPEND if it has those; they matter only where the file has to
// be opened now.
class OpenFile {
 public:
  static Result<OpenFile> of(OpContext& context, std::uint64_t fh, int access) noexcept {
    return of(context, context.node_id(), fh, access);
  }
  static Result<OpenFile> of(OpContext& context, NodeId node, std::uint64_t fh,
                             int access) noexcept;

  // Always valid: a handle without a descriptor (passthrough) gets one here.
  [[nodiscard]] BorrowedFd fd() const noexcept { return handle_ ? handle_.fd() : own_.borrow(); }
  // Empty in the stateless design.
  [[nodiscard]] const HandleRef& handle() const noexcept { return handle_; }

 private:
  HandleRef handle_;
  UniqueFd own_;
};

// Gives a passthrough handle the descriptor that an operation needs. The daemon's own identity is
// needed: the client's right was checked when it opened. ESTALE, EIO: see still_there().
Result<void> ensure_descriptor(MountState& state, const HandleRef& handle) noexcept;

// Of a handle without a descriptor. ESTALE: its file could not be opened again when all processes
// had been gone; EIO: a lock that it held could not be taken again.
Result<void> still_there(const HandleRef& handle) noexcept;

// Opens the file of a handle again that has lost its descriptor, and takes its flock. EAGAIN:
// somebody else has that now. Others: the file is gone, or cannot be opened like that any more.
Result<void> open_again(MountState& state, const HandleRef& handle) noexcept;

// RELEASE, or an open whose answer could not be sent: ends the handle and its part in the inode's
// way of I/O. EBADF as HandleTable::release.
Result<void> close_handle(MountState& state, NodeId node, std::uint64_t fh) noexcept;

// Whether a RELEASE that a process had begun to serve before it died was done by then. Locks that
// were taken through the handle are dropped in any case.
[[nodiscard]] bool was_released(OpContext& context, std::uint64_t fh) noexcept;

// The mount option: reading leaves the source's access times alone. Set after the open, because
// only the owner may open that way. Best effort where the daemon may not either.
void leave_access_times(const MountState& state, BorrowedFd fd) noexcept;

// Another description of the same open file, past the page cache. EINVAL: the source has none.
Result<UniqueFd> reopen_direct(MountState& state, BorrowedFd fd) noexcept;

// Whether a descriptor opened with these O_* flags can write.
[[nodiscard]] constexpr bool can_write(std::uint32_t flags) noexcept {
  return (flags & O_ACCMODE) == O_WRONLY || (flags & O_ACCMODE) == O_RDWR;
}

}  // namespace passthroughfs
