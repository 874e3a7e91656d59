// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "ops/handlers.h"

namespace passthroughfs::ops {

Result<wire::StatfsOut> statfs(OpContext& context, const wire::StatfsRequest&) {
  const InodeRef inode = TRY(context.node());
  struct statfs fs;
  if (::fstatfs(inode.fd().get(), &fs) < 0) return Errno::last();
  wire::StatfsOut out{};
  out.blocks = fs.f_blocks;
  out.bfree = fs.f_bfree;
  out.bavail = fs.f_bavail;
  out.files = fs.f_files;
  out.ffree = fs.f_ffree;
  out.bsize = static_cast<std::uint32_t>(fs.f_bsize);
  out.namelen = static_cast<std::uint32_t>(fs.f_namelen);
  out.frsize = static_cast<std::uint32_t>(fs.f_frsize);
  return out;
}

Result<void> syncfs(OpContext& context, const wire::SyncfsRequest&) {
  const UniqueFd root = TRY(with_descriptors(context.state, [&] {
    return context.state.source.reopen(context.state.source.root(), O_RDONLY | O_DIRECTORY);
  }));
  const auto blocking = TRY(context.may_wait());
  return check_void(::syncfs(root.get()));
}

// The kernel lets go of the file system; what it knew ends with the tables.
Result<void> destroy(OpContext&, const wire::DestroyRequest&) { return ok(); }

}  // namespace passthroughfs::ops
