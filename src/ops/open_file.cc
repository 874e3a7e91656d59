// SPDX-License-Identifier: Apache-2.0
#include "ops/open_file.h"

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
  out.own_ = TRY(with_descriptors(
      context.state, [&] { return context.state.source.reopen(inode.fd(), access); }));
  return out;
}

}  // namespace passthroughfs
