// SPDX-License-Identifier: Apache-2.0
#include "ops/open_file.h"

#include <fcntl.h>
#include <sys/stat.h>

namespace passthroughfs {

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
  auto opened = open(access);
  // A source without O_DIRECT; through its page cache the data is the same.
  if (!opened && opened.error() == EINVAL && (access & O_DIRECT) != 0) {
    opened = open(access & ~O_DIRECT);
  }
  out.own_ = TRY(std::move(opened));
  return out;
}

}  // namespace passthroughfs
