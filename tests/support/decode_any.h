// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "wire/requests.h"

namespace passthroughfs::test {

// Decodes a request as its opcode says and drops the result. ENOSYS for an opcode without decoder.
inline Result<void> decode_any(const wire::Request& request, const wire::DecodeOptions& options) {
  using namespace wire;
  const auto as = [&]<typename T>(const T*) -> Result<void> {
    const Result<T> decoded = decode<T>(request, options);
    if (!decoded) return decoded.error();
    return ok();
  };
  switch (request.opcode()) {
    case Opcode::lookup: return as(static_cast<LookupRequest*>(nullptr));
    case Opcode::forget: return as(static_cast<ForgetRequest*>(nullptr));
    case Opcode::getattr: return as(static_cast<GetattrRequest*>(nullptr));
    case Opcode::setattr: return as(static_cast<SetattrRequest*>(nullptr));
    case Opcode::readlink: return as(static_cast<ReadlinkRequest*>(nullptr));
    case Opcode::symlink: return as(static_cast<SymlinkRequest*>(nullptr));
    case Opcode::mknod: return as(static_cast<MknodRequest*>(nullptr));
    case Opcode::mkdir: return as(static_cast<MkdirRequest*>(nullptr));
    case Opcode::unlink: return as(static_cast<UnlinkRequest*>(nullptr));
    case Opcode::rmdir: return as(static_cast<RmdirRequest*>(nullptr));
    case Opcode::rename:
    case Opcode::rename2: return as(static_cast<RenameRequest*>(nullptr));
    case Opcode::link: return as(static_cast<LinkRequest*>(nullptr));
    case Opcode::open:
    case Opcode::opendir: return as(static_cast<OpenRequest*>(nullptr));
    case Opcode::read:
    case Opcode::readdir:
    case Opcode::readdirplus: return as(static_cast<ReadRequest*>(nullptr));
    case Opcode::write: return as(static_cast<WriteRequest*>(nullptr));
    case Opcode::statfs: return as(static_cast<StatfsRequest*>(nullptr));
    case Opcode::release:
    case Opcode::releasedir: return as(static_cast<ReleaseRequest*>(nullptr));
    case Opcode::fsync:
    case Opcode::fsyncdir: return as(static_cast<FsyncRequest*>(nullptr));
    case Opcode::setxattr: return as(static_cast<SetxattrRequest*>(nullptr));
    case Opcode::getxattr: return as(static_cast<GetxattrRequest*>(nullptr));
    case Opcode::listxattr: return as(static_cast<ListxattrRequest*>(nullptr));
    case Opcode::removexattr: return as(static_cast<RemovexattrRequest*>(nullptr));
    case Opcode::flush: return as(static_cast<FlushRequest*>(nullptr));
    case Opcode::init: return as(static_cast<InitRequest*>(nullptr));
    case Opcode::getlk:
    case Opcode::setlk:
    case Opcode::setlkw: return as(static_cast<LockRequest*>(nullptr));
    case Opcode::access: return as(static_cast<AccessRequest*>(nullptr));
    case Opcode::create:
    case Opcode::tmpfile: return as(static_cast<CreateRequest*>(nullptr));
    case Opcode::interrupt: return as(static_cast<InterruptRequest*>(nullptr));
    case Opcode::bmap: return as(static_cast<BmapRequest*>(nullptr));
    case Opcode::destroy: return as(static_cast<DestroyRequest*>(nullptr));
    case Opcode::ioctl: return as(static_cast<IoctlRequest*>(nullptr));
    case Opcode::poll: return as(static_cast<PollRequest*>(nullptr));
    case Opcode::batch_forget: return as(static_cast<BatchForgetRequest*>(nullptr));
    case Opcode::fallocate: return as(static_cast<FallocateRequest*>(nullptr));
    case Opcode::lseek: return as(static_cast<LseekRequest*>(nullptr));
    case Opcode::copy_file_range:
    case Opcode::copy_file_range_64: return as(static_cast<CopyFileRangeRequest*>(nullptr));
    case Opcode::syncfs: return as(static_cast<SyncfsRequest*>(nullptr));
    case Opcode::statx: return as(static_cast<StatxRequest*>(nullptr));
    case Opcode::notify_reply:
    case Opcode::setupmapping:
    case Opcode::removemapping: break;
  }
  return Err(ENOSYS);
}

}  // namespace passthroughfs::test
