// SPDX-License-Identifier: Apache-2.0
#include "ops/open_file.h"

#include <fcntl.h>
#include <sys/stat.h>

namespace passthroughfs {

void leave_access_times(const MountState& state, BorrowedFd fd) noexcept {
  if (!state.config.noatime) return;
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags >= 0) (void)::fcntl(fd.get(), F_SETFL, flags | O_NOATIME);
}

Result<OpenFile> OpenFile::of(OpContext& context, NodeId node, std::uint64_t fh,
                              int access) noexcept {
  OpenFile out;
  if (context.state.config.handles == HandleMode::table) {
    out.handle_ = TRY(context.state.handles->get(fh, node));
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

}  // namespace passthroughfs
