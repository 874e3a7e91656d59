// SPDX-License-Identifier: Apache-2.0
//
// Every operation, as op_table.cc names them. They run on a serving thread, with the daemon's
// identity and umask 0 outside of the scopes that change them. An error is the errno that the
// client gets; none may answer ENOSYS by accident, because the kernel takes it as "never ask
// again".
#pragma once

#include "ops/context.h"
#include "ops/replies.h"
#include "wire/reply.h"
#include "wire/requests.h"

namespace passthroughfs::ops {

// lookup.cc
Result<EntryReply> lookup(OpContext&, const wire::LookupRequest&);
void forget(OpContext&, const wire::ForgetRequest&);
void batch_forget(OpContext&, const wire::BatchForgetRequest&);

// attr.cc
Result<wire::AttrOut> getattr(OpContext&, const wire::GetattrRequest&);
Result<wire::StatxOut> statx(OpContext&, const wire::StatxRequest&);
Result<wire::AttrOut> setattr(OpContext&, const wire::SetattrRequest&);
Result<void> access(OpContext&, const wire::AccessRequest&);

// tree.cc
Result<ByteSpan> readlink(OpContext&, const wire::ReadlinkRequest&);
Result<EntryReply> symlink(OpContext&, const wire::SymlinkRequest&);
Result<EntryReply> mknod(OpContext&, const wire::MknodRequest&);
Result<EntryReply> mkdir(OpContext&, const wire::MkdirRequest&);
Result<EntryReply> link(OpContext&, const wire::LinkRequest&);
Result<void> unlink(OpContext&, const wire::UnlinkRequest&);
Result<void> rmdir(OpContext&, const wire::RmdirRequest&);
Result<void> rename(OpContext&, const wire::RenameRequest&);

// file.cc
Result<OpenReply> open(OpContext&, const wire::OpenRequest&);
Result<CreateReply> create(OpContext&, const wire::CreateRequest&);
Result<CreateReply> tmpfile(OpContext&, const wire::CreateRequest&);
Result<void> flush(OpContext&, const wire::FlushRequest&);
Result<void> release(OpContext&, const wire::ReleaseRequest&);
Result<void> fsync(OpContext&, const wire::FsyncRequest&);

// data.cc
Result<ByteSpan> read(OpContext&, const wire::ReadRequest&, wire::Reply&);  // may have answered
Result<wire::WriteOut> write(OpContext&, const wire::WriteRequest&);
Result<wire::LseekOut> lseek(OpContext&, const wire::LseekRequest&);
Result<void> fallocate(OpContext&, const wire::FallocateRequest&);
Result<wire::WriteOut> copy_file_range(OpContext&, const wire::CopyFileRangeRequest&);
Result<wire::CopyFileRangeOut> copy_file_range_64(OpContext&, const wire::CopyFileRangeRequest&);

// dir.cc
Result<OpenReply> opendir(OpContext&, const wire::OpenRequest&);
Result<ByteSpan> readdir(OpContext&, const wire::ReadRequest&);
Result<DirentPlusReply> readdirplus(OpContext&, const wire::ReadRequest&);
Result<void> releasedir(OpContext&, const wire::ReleaseRequest&);
Result<void> fsyncdir(OpContext&, const wire::FsyncRequest&);

// xattr.cc
Result<void> setxattr(OpContext&, const wire::SetxattrRequest&);
Result<ByteSpan> getxattr(OpContext&, const wire::GetxattrRequest&);
Result<ByteSpan> listxattr(OpContext&, const wire::ListxattrRequest&);
Result<void> removexattr(OpContext&, const wire::RemovexattrRequest&);

// lock.cc
Result<wire::LkOut> getlk(OpContext&, const wire::LockRequest&);
Result<void> setlk(OpContext&, const wire::LockRequest&);
void setlkw(OpContext&, const wire::LockRequest&, wire::Reply reply);  // may answer later

// fs.cc
Result<wire::StatfsOut> statfs(OpContext&, const wire::StatfsRequest&);
Result<void> syncfs(OpContext&, const wire::SyncfsRequest&);
Result<void> destroy(OpContext&, const wire::DestroyRequest&);

// ioctl.cc
Result<ByteSpan> ioctl(OpContext&, const wire::IoctlRequest&);

}  // namespace passthroughfs::ops
