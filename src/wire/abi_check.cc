// SPDX-License-Identifier: Apache-2.0
//
// No code: compares our copy of the protocol with the system's <linux/fuse.h> where the two
// overlap. The oldest header that we build with is 7.38; what is newer has only the size checks of
// abi.h.
#include <linux/fuse.h>

#include <cstddef>

#include "wire/abi.h"
#include "wire/opcode.h"

namespace passthroughfs::wire {
namespace {

// NOLINTBEGIN(cppcoreguidelines-macro-usage)
#define SAME_SIZE(ours, theirs) static_assert(sizeof(ours) == sizeof(struct theirs))
#define SAME_FIELD(ours, theirs, field)                             \
  static_assert(offsetof(ours, field) == offsetof(theirs, field) && \
                sizeof(ours::field) == sizeof(theirs::field))
#define SAME_VALUE(ours, theirs) \
  static_assert(static_cast<std::uint64_t>(ours) == static_cast<std::uint64_t>(theirs))
// NOLINTEND(cppcoreguidelines-macro-usage)

static_assert(FUSE_KERNEL_MINOR_VERSION >= 38);

SAME_SIZE(InHeader, fuse_in_header);
SAME_FIELD(InHeader, fuse_in_header, len);
SAME_FIELD(InHeader, fuse_in_header, opcode);
SAME_FIELD(InHeader, fuse_in_header, unique);
SAME_FIELD(InHeader, fuse_in_header, nodeid);
SAME_FIELD(InHeader, fuse_in_header, uid);
SAME_FIELD(InHeader, fuse_in_header, gid);
SAME_FIELD(InHeader, fuse_in_header, pid);
SAME_FIELD(InHeader, fuse_in_header, total_extlen);
SAME_FIELD(InHeader, fuse_in_header, padding);

SAME_SIZE(OutHeader, fuse_out_header);
SAME_FIELD(OutHeader, fuse_out_header, len);
SAME_FIELD(OutHeader, fuse_out_header, error);
SAME_FIELD(OutHeader, fuse_out_header, unique);

SAME_SIZE(Attr, fuse_attr);
SAME_FIELD(Attr, fuse_attr, ino);
SAME_FIELD(Attr, fuse_attr, size);
SAME_FIELD(Attr, fuse_attr, blocks);
SAME_FIELD(Attr, fuse_attr, atime);
SAME_FIELD(Attr, fuse_attr, mtime);
SAME_FIELD(Attr, fuse_attr, ctime);
SAME_FIELD(Attr, fuse_attr, atimensec);
SAME_FIELD(Attr, fuse_attr, mtimensec);
SAME_FIELD(Attr, fuse_attr, ctimensec);
SAME_FIELD(Attr, fuse_attr, mode);
SAME_FIELD(Attr, fuse_attr, nlink);
SAME_FIELD(Attr, fuse_attr, uid);
SAME_FIELD(Attr, fuse_attr, gid);
SAME_FIELD(Attr, fuse_attr, rdev);
SAME_FIELD(Attr, fuse_attr, blksize);
SAME_FIELD(Attr, fuse_attr, flags);

SAME_SIZE(EntryOut, fuse_entry_out);
SAME_FIELD(EntryOut, fuse_entry_out, nodeid);
SAME_FIELD(EntryOut, fuse_entry_out, generation);
SAME_FIELD(EntryOut, fuse_entry_out, entry_valid);
SAME_FIELD(EntryOut, fuse_entry_out, attr_valid);
SAME_FIELD(EntryOut, fuse_entry_out, entry_valid_nsec);
SAME_FIELD(EntryOut, fuse_entry_out, attr_valid_nsec);
SAME_FIELD(EntryOut, fuse_entry_out, attr);

SAME_SIZE(AttrOut, fuse_attr_out);
SAME_FIELD(AttrOut, fuse_attr_out, attr_valid);
SAME_FIELD(AttrOut, fuse_attr_out, attr_valid_nsec);
SAME_FIELD(AttrOut, fuse_attr_out, dummy);
SAME_FIELD(AttrOut, fuse_attr_out, attr);

SAME_SIZE(ForgetIn, fuse_forget_in);
SAME_FIELD(ForgetIn, fuse_forget_in, nlookup);

SAME_SIZE(ForgetOne, fuse_forget_one);
SAME_FIELD(ForgetOne, fuse_forget_one, nodeid);
SAME_FIELD(ForgetOne, fuse_forget_one, nlookup);

SAME_SIZE(BatchForgetIn, fuse_batch_forget_in);
SAME_FIELD(BatchForgetIn, fuse_batch_forget_in, count);
SAME_FIELD(BatchForgetIn, fuse_batch_forget_in, dummy);

SAME_SIZE(GetattrIn, fuse_getattr_in);
SAME_FIELD(GetattrIn, fuse_getattr_in, getattr_flags);
SAME_FIELD(GetattrIn, fuse_getattr_in, dummy);
SAME_FIELD(GetattrIn, fuse_getattr_in, fh);

SAME_SIZE(SetattrIn, fuse_setattr_in);
SAME_FIELD(SetattrIn, fuse_setattr_in, valid);
SAME_FIELD(SetattrIn, fuse_setattr_in, padding);
SAME_FIELD(SetattrIn, fuse_setattr_in, fh);
SAME_FIELD(SetattrIn, fuse_setattr_in, size);
SAME_FIELD(SetattrIn, fuse_setattr_in, lock_owner);
SAME_FIELD(SetattrIn, fuse_setattr_in, atime);
SAME_FIELD(SetattrIn, fuse_setattr_in, mtime);
SAME_FIELD(SetattrIn, fuse_setattr_in, ctime);
SAME_FIELD(SetattrIn, fuse_setattr_in, atimensec);
SAME_FIELD(SetattrIn, fuse_setattr_in, mtimensec);
SAME_FIELD(SetattrIn, fuse_setattr_in, ctimensec);
SAME_FIELD(SetattrIn, fuse_setattr_in, mode);
SAME_FIELD(SetattrIn, fuse_setattr_in, unused4);
SAME_FIELD(SetattrIn, fuse_setattr_in, uid);
SAME_FIELD(SetattrIn, fuse_setattr_in, gid);
SAME_FIELD(SetattrIn, fuse_setattr_in, unused5);

SAME_SIZE(MknodIn, fuse_mknod_in);
SAME_FIELD(MknodIn, fuse_mknod_in, mode);
SAME_FIELD(MknodIn, fuse_mknod_in, rdev);
SAME_FIELD(MknodIn, fuse_mknod_in, umask);
SAME_FIELD(MknodIn, fuse_mknod_in, padding);

SAME_SIZE(MkdirIn, fuse_mkdir_in);
SAME_FIELD(MkdirIn, fuse_mkdir_in, mode);
SAME_FIELD(MkdirIn, fuse_mkdir_in, umask);

SAME_SIZE(RenameIn, fuse_rename_in);
SAME_FIELD(RenameIn, fuse_rename_in, newdir);

SAME_SIZE(Rename2In, fuse_rename2_in);
SAME_FIELD(Rename2In, fuse_rename2_in, newdir);
SAME_FIELD(Rename2In, fuse_rename2_in, flags);
SAME_FIELD(Rename2In, fuse_rename2_in, padding);

SAME_SIZE(LinkIn, fuse_link_in);
SAME_FIELD(LinkIn, fuse_link_in, oldnodeid);

SAME_SIZE(OpenIn, fuse_open_in);
SAME_FIELD(OpenIn, fuse_open_in, flags);
SAME_FIELD(OpenIn, fuse_open_in, open_flags);

SAME_SIZE(CreateIn, fuse_create_in);
SAME_FIELD(CreateIn, fuse_create_in, flags);
SAME_FIELD(CreateIn, fuse_create_in, mode);
SAME_FIELD(CreateIn, fuse_create_in, umask);
SAME_FIELD(CreateIn, fuse_create_in, open_flags);

SAME_SIZE(OpenOut, fuse_open_out);
SAME_FIELD(OpenOut, fuse_open_out, fh);
SAME_FIELD(OpenOut, fuse_open_out, open_flags);

SAME_SIZE(ReleaseIn, fuse_release_in);
SAME_FIELD(ReleaseIn, fuse_release_in, fh);
SAME_FIELD(ReleaseIn, fuse_release_in, flags);
SAME_FIELD(ReleaseIn, fuse_release_in, release_flags);
SAME_FIELD(ReleaseIn, fuse_release_in, lock_owner);

SAME_SIZE(FlushIn, fuse_flush_in);
SAME_FIELD(FlushIn, fuse_flush_in, fh);
SAME_FIELD(FlushIn, fuse_flush_in, padding);
SAME_FIELD(FlushIn, fuse_flush_in, lock_owner);

SAME_SIZE(ReadIn, fuse_read_in);
SAME_FIELD(ReadIn, fuse_read_in, fh);
SAME_FIELD(ReadIn, fuse_read_in, offset);
SAME_FIELD(ReadIn, fuse_read_in, size);
SAME_FIELD(ReadIn, fuse_read_in, read_flags);
SAME_FIELD(ReadIn, fuse_read_in, lock_owner);
SAME_FIELD(ReadIn, fuse_read_in, flags);
SAME_FIELD(ReadIn, fuse_read_in, padding);

SAME_SIZE(WriteIn, fuse_write_in);
SAME_FIELD(WriteIn, fuse_write_in, fh);
SAME_FIELD(WriteIn, fuse_write_in, offset);
SAME_FIELD(WriteIn, fuse_write_in, size);
SAME_FIELD(WriteIn, fuse_write_in, write_flags);
SAME_FIELD(WriteIn, fuse_write_in, lock_owner);
SAME_FIELD(WriteIn, fuse_write_in, flags);
SAME_FIELD(WriteIn, fuse_write_in, padding);

SAME_SIZE(WriteOut, fuse_write_out);
SAME_FIELD(WriteOut, fuse_write_out, size);
SAME_FIELD(WriteOut, fuse_write_out, padding);

SAME_SIZE(StatfsOut, fuse_statfs_out);
SAME_FIELD(StatfsOut, fuse_kstatfs, blocks);
SAME_FIELD(StatfsOut, fuse_kstatfs, bfree);
SAME_FIELD(StatfsOut, fuse_kstatfs, bavail);
SAME_FIELD(StatfsOut, fuse_kstatfs, files);
SAME_FIELD(StatfsOut, fuse_kstatfs, ffree);
SAME_FIELD(StatfsOut, fuse_kstatfs, bsize);
SAME_FIELD(StatfsOut, fuse_kstatfs, namelen);
SAME_FIELD(StatfsOut, fuse_kstatfs, frsize);
SAME_FIELD(StatfsOut, fuse_kstatfs, padding);

SAME_SIZE(FsyncIn, fuse_fsync_in);
SAME_FIELD(FsyncIn, fuse_fsync_in, fh);
SAME_FIELD(FsyncIn, fuse_fsync_in, fsync_flags);
SAME_FIELD(FsyncIn, fuse_fsync_in, padding);

SAME_SIZE(SetxattrIn, fuse_setxattr_in);
SAME_FIELD(SetxattrIn, fuse_setxattr_in, size);
SAME_FIELD(SetxattrIn, fuse_setxattr_in, flags);
SAME_FIELD(SetxattrIn, fuse_setxattr_in, setxattr_flags);
SAME_FIELD(SetxattrIn, fuse_setxattr_in, padding);

SAME_SIZE(GetxattrIn, fuse_getxattr_in);
SAME_FIELD(GetxattrIn, fuse_getxattr_in, size);
SAME_FIELD(GetxattrIn, fuse_getxattr_in, padding);

SAME_SIZE(GetxattrOut, fuse_getxattr_out);
SAME_FIELD(GetxattrOut, fuse_getxattr_out, size);
SAME_FIELD(GetxattrOut, fuse_getxattr_out, padding);

SAME_SIZE(FileLock, fuse_file_lock);
SAME_FIELD(FileLock, fuse_file_lock, start);
SAME_FIELD(FileLock, fuse_file_lock, end);
SAME_FIELD(FileLock, fuse_file_lock, type);
SAME_FIELD(FileLock, fuse_file_lock, pid);

SAME_SIZE(LkIn, fuse_lk_in);
SAME_FIELD(LkIn, fuse_lk_in, fh);
SAME_FIELD(LkIn, fuse_lk_in, owner);
SAME_FIELD(LkIn, fuse_lk_in, lk);
SAME_FIELD(LkIn, fuse_lk_in, lk_flags);
SAME_FIELD(LkIn, fuse_lk_in, padding);

SAME_SIZE(LkOut, fuse_lk_out);
SAME_FIELD(LkOut, fuse_lk_out, lk);

SAME_SIZE(AccessIn, fuse_access_in);
SAME_FIELD(AccessIn, fuse_access_in, mask);
SAME_FIELD(AccessIn, fuse_access_in, padding);

SAME_SIZE(InterruptIn, fuse_interrupt_in);
SAME_FIELD(InterruptIn, fuse_interrupt_in, unique);

SAME_SIZE(BmapIn, fuse_bmap_in);
SAME_FIELD(BmapIn, fuse_bmap_in, block);
SAME_FIELD(BmapIn, fuse_bmap_in, blocksize);
SAME_FIELD(BmapIn, fuse_bmap_in, padding);

SAME_SIZE(IoctlIn, fuse_ioctl_in);
SAME_FIELD(IoctlIn, fuse_ioctl_in, fh);
SAME_FIELD(IoctlIn, fuse_ioctl_in, flags);
SAME_FIELD(IoctlIn, fuse_ioctl_in, cmd);
SAME_FIELD(IoctlIn, fuse_ioctl_in, arg);
SAME_FIELD(IoctlIn, fuse_ioctl_in, in_size);
SAME_FIELD(IoctlIn, fuse_ioctl_in, out_size);

SAME_SIZE(IoctlOut, fuse_ioctl_out);
SAME_FIELD(IoctlOut, fuse_ioctl_out, result);
SAME_FIELD(IoctlOut, fuse_ioctl_out, flags);
SAME_FIELD(IoctlOut, fuse_ioctl_out, in_iovs);
SAME_FIELD(IoctlOut, fuse_ioctl_out, out_iovs);

SAME_SIZE(PollIn, fuse_poll_in);
SAME_FIELD(PollIn, fuse_poll_in, fh);
SAME_FIELD(PollIn, fuse_poll_in, kh);
SAME_FIELD(PollIn, fuse_poll_in, flags);
SAME_FIELD(PollIn, fuse_poll_in, events);

SAME_SIZE(PollOut, fuse_poll_out);
SAME_FIELD(PollOut, fuse_poll_out, revents);
SAME_FIELD(PollOut, fuse_poll_out, padding);

SAME_SIZE(FallocateIn, fuse_fallocate_in);
SAME_FIELD(FallocateIn, fuse_fallocate_in, fh);
SAME_FIELD(FallocateIn, fuse_fallocate_in, offset);
SAME_FIELD(FallocateIn, fuse_fallocate_in, length);
SAME_FIELD(FallocateIn, fuse_fallocate_in, mode);
SAME_FIELD(FallocateIn, fuse_fallocate_in, padding);

SAME_SIZE(LseekIn, fuse_lseek_in);
SAME_FIELD(LseekIn, fuse_lseek_in, fh);
SAME_FIELD(LseekIn, fuse_lseek_in, offset);
SAME_FIELD(LseekIn, fuse_lseek_in, whence);
SAME_FIELD(LseekIn, fuse_lseek_in, padding);

SAME_SIZE(LseekOut, fuse_lseek_out);
SAME_FIELD(LseekOut, fuse_lseek_out, offset);

SAME_SIZE(CopyFileRangeIn, fuse_copy_file_range_in);
SAME_FIELD(CopyFileRangeIn, fuse_copy_file_range_in, fh_in);
SAME_FIELD(CopyFileRangeIn, fuse_copy_file_range_in, off_in);
SAME_FIELD(CopyFileRangeIn, fuse_copy_file_range_in, nodeid_out);
SAME_FIELD(CopyFileRangeIn, fuse_copy_file_range_in, fh_out);
SAME_FIELD(CopyFileRangeIn, fuse_copy_file_range_in, off_out);
SAME_FIELD(CopyFileRangeIn, fuse_copy_file_range_in, len);
SAME_FIELD(CopyFileRangeIn, fuse_copy_file_range_in, flags);

SAME_SIZE(SyncfsIn, fuse_syncfs_in);
SAME_FIELD(SyncfsIn, fuse_syncfs_in, padding);

SAME_SIZE(Dirent, fuse_dirent);
SAME_FIELD(Dirent, fuse_dirent, ino);
SAME_FIELD(Dirent, fuse_dirent, off);
SAME_FIELD(Dirent, fuse_dirent, namelen);
SAME_FIELD(Dirent, fuse_dirent, type);

SAME_SIZE(DirentPlus, fuse_direntplus);
SAME_FIELD(DirentPlus, fuse_direntplus, dirent);

SAME_SIZE(InitIn, fuse_init_in);
SAME_FIELD(InitIn, fuse_init_in, major);
SAME_FIELD(InitIn, fuse_init_in, minor);
SAME_FIELD(InitIn, fuse_init_in, max_readahead);
SAME_FIELD(InitIn, fuse_init_in, flags);
SAME_FIELD(InitIn, fuse_init_in, flags2);

SAME_SIZE(InitOut, fuse_init_out);
SAME_FIELD(InitOut, fuse_init_out, major);
SAME_FIELD(InitOut, fuse_init_out, minor);
SAME_FIELD(InitOut, fuse_init_out, max_readahead);
SAME_FIELD(InitOut, fuse_init_out, flags);
SAME_FIELD(InitOut, fuse_init_out, max_background);
SAME_FIELD(InitOut, fuse_init_out, congestion_threshold);
SAME_FIELD(InitOut, fuse_init_out, max_write);
SAME_FIELD(InitOut, fuse_init_out, time_gran);
SAME_FIELD(InitOut, fuse_init_out, max_pages);
SAME_FIELD(InitOut, fuse_init_out, map_alignment);
SAME_FIELD(InitOut, fuse_init_out, flags2);

SAME_SIZE(ExtHeader, fuse_ext_header);
SAME_FIELD(ExtHeader, fuse_ext_header, size);
SAME_FIELD(ExtHeader, fuse_ext_header, type);

SAME_SIZE(NotifyInvalInodeOut, fuse_notify_inval_inode_out);
SAME_FIELD(NotifyInvalInodeOut, fuse_notify_inval_inode_out, ino);
SAME_FIELD(NotifyInvalInodeOut, fuse_notify_inval_inode_out, off);
SAME_FIELD(NotifyInvalInodeOut, fuse_notify_inval_inode_out, len);

SAME_SIZE(NotifyInvalEntryOut, fuse_notify_inval_entry_out);
SAME_FIELD(NotifyInvalEntryOut, fuse_notify_inval_entry_out, parent);
SAME_FIELD(NotifyInvalEntryOut, fuse_notify_inval_entry_out, namelen);
SAME_FIELD(NotifyInvalEntryOut, fuse_notify_inval_entry_out, flags);

SAME_SIZE(NotifyRetrieveOut, fuse_notify_retrieve_out);
SAME_FIELD(NotifyRetrieveOut, fuse_notify_retrieve_out, notify_unique);
SAME_FIELD(NotifyRetrieveOut, fuse_notify_retrieve_out, nodeid);
SAME_FIELD(NotifyRetrieveOut, fuse_notify_retrieve_out, offset);
SAME_FIELD(NotifyRetrieveOut, fuse_notify_retrieve_out, size);
SAME_FIELD(NotifyRetrieveOut, fuse_notify_retrieve_out, padding);

// The cast above would widen 1 << 31 with its sign; no flag that we know has that bit.
SAME_VALUE(init_flag::async_read, FUSE_ASYNC_READ);
SAME_VALUE(init_flag::posix_locks, FUSE_POSIX_LOCKS);
SAME_VALUE(init_flag::file_ops, FUSE_FILE_OPS);
SAME_VALUE(init_flag::atomic_o_trunc, FUSE_ATOMIC_O_TRUNC);
SAME_VALUE(init_flag::export_support, FUSE_EXPORT_SUPPORT);
SAME_VALUE(init_flag::big_writes, FUSE_BIG_WRITES);
SAME_VALUE(init_flag::dont_mask, FUSE_DONT_MASK);
SAME_VALUE(init_flag::splice_write, FUSE_SPLICE_WRITE);
SAME_VALUE(init_flag::splice_move, FUSE_SPLICE_MOVE);
SAME_VALUE(init_flag::splice_read, FUSE_SPLICE_READ);
SAME_VALUE(init_flag::flock_locks, FUSE_FLOCK_LOCKS);
SAME_VALUE(init_flag::has_ioctl_dir, FUSE_HAS_IOCTL_DIR);
SAME_VALUE(init_flag::auto_inval_data, FUSE_AUTO_INVAL_DATA);
SAME_VALUE(init_flag::do_readdirplus, FUSE_DO_READDIRPLUS);
SAME_VALUE(init_flag::readdirplus_auto, FUSE_READDIRPLUS_AUTO);
SAME_VALUE(init_flag::async_dio, FUSE_ASYNC_DIO);
SAME_VALUE(init_flag::writeback_cache, FUSE_WRITEBACK_CACHE);
SAME_VALUE(init_flag::no_open_support, FUSE_NO_OPEN_SUPPORT);
SAME_VALUE(init_flag::parallel_dirops, FUSE_PARALLEL_DIROPS);
SAME_VALUE(init_flag::handle_killpriv, FUSE_HANDLE_KILLPRIV);
SAME_VALUE(init_flag::posix_acl, FUSE_POSIX_ACL);
SAME_VALUE(init_flag::abort_error, FUSE_ABORT_ERROR);
SAME_VALUE(init_flag::max_pages, FUSE_MAX_PAGES);
SAME_VALUE(init_flag::cache_symlinks, FUSE_CACHE_SYMLINKS);
SAME_VALUE(init_flag::no_opendir_support, FUSE_NO_OPENDIR_SUPPORT);
SAME_VALUE(init_flag::explicit_inval_data, FUSE_EXPLICIT_INVAL_DATA);
SAME_VALUE(init_flag::map_alignment, FUSE_MAP_ALIGNMENT);
SAME_VALUE(init_flag::submounts, FUSE_SUBMOUNTS);
SAME_VALUE(init_flag::handle_killpriv_v2, FUSE_HANDLE_KILLPRIV_V2);
SAME_VALUE(init_flag::setxattr_ext, FUSE_SETXATTR_EXT);
SAME_VALUE(init_flag::init_ext, FUSE_INIT_EXT);
SAME_VALUE(init_flag::security_ctx, FUSE_SECURITY_CTX);
SAME_VALUE(init_flag::has_inode_dax, FUSE_HAS_INODE_DAX);
SAME_VALUE(init_flag::has_expire_only, FUSE_HAS_EXPIRE_ONLY);
SAME_VALUE(fopen_flag::direct_io, FOPEN_DIRECT_IO);
SAME_VALUE(fopen_flag::keep_cache, FOPEN_KEEP_CACHE);
SAME_VALUE(fopen_flag::nonseekable, FOPEN_NONSEEKABLE);
SAME_VALUE(fopen_flag::cache_dir, FOPEN_CACHE_DIR);
SAME_VALUE(fopen_flag::stream, FOPEN_STREAM);
SAME_VALUE(fopen_flag::noflush, FOPEN_NOFLUSH);
SAME_VALUE(fopen_flag::parallel_direct_writes, FOPEN_PARALLEL_DIRECT_WRITES);
SAME_VALUE(setattr_valid::mode, FATTR_MODE);
SAME_VALUE(setattr_valid::uid, FATTR_UID);
SAME_VALUE(setattr_valid::gid, FATTR_GID);
SAME_VALUE(setattr_valid::size, FATTR_SIZE);
SAME_VALUE(setattr_valid::atime, FATTR_ATIME);
SAME_VALUE(setattr_valid::mtime, FATTR_MTIME);
SAME_VALUE(setattr_valid::fh, FATTR_FH);
SAME_VALUE(setattr_valid::atime_now, FATTR_ATIME_NOW);
SAME_VALUE(setattr_valid::mtime_now, FATTR_MTIME_NOW);
SAME_VALUE(setattr_valid::ctime, FATTR_CTIME);
SAME_VALUE(setattr_valid::kill_suidgid, FATTR_KILL_SUIDGID);
SAME_VALUE(setattr_valid::lock_owner, FATTR_LOCKOWNER);
SAME_VALUE(kMajor, FUSE_KERNEL_VERSION);
SAME_VALUE(kRootNodeId, FUSE_ROOT_ID);
SAME_VALUE(kMinReadBuffer, FUSE_MIN_READ_BUFFER);
SAME_VALUE(kCompatSetxattrInSize, FUSE_COMPAT_SETXATTR_IN_SIZE);
SAME_VALUE(kGetattrFh, FUSE_GETATTR_FH);
SAME_VALUE(kOpenKillSuidgid, FUSE_OPEN_KILL_SUIDGID);
SAME_VALUE(kReleaseFlush, FUSE_RELEASE_FLUSH);
SAME_VALUE(kReleaseFlockUnlock, FUSE_RELEASE_FLOCK_UNLOCK);
SAME_VALUE(kReadLockOwner, FUSE_READ_LOCKOWNER);
SAME_VALUE(kWriteCache, FUSE_WRITE_CACHE);
SAME_VALUE(kWriteLockOwner, FUSE_WRITE_LOCKOWNER);
SAME_VALUE(kWriteKillSuidgid, FUSE_WRITE_KILL_SUIDGID);
SAME_VALUE(kFsyncFdatasync, FUSE_FSYNC_FDATASYNC);
SAME_VALUE(kLkFlock, FUSE_LK_FLOCK);
SAME_VALUE(kSetxattrAclKillSgid, FUSE_SETXATTR_ACL_KILL_SGID);
SAME_VALUE(kIoctlCompat, FUSE_IOCTL_COMPAT);
SAME_VALUE(kIoctlUnrestricted, FUSE_IOCTL_UNRESTRICTED);
SAME_VALUE(kIoctl32Bit, FUSE_IOCTL_32BIT);
SAME_VALUE(kIoctlDir, FUSE_IOCTL_DIR);
SAME_VALUE(kMaxNrSecctx, FUSE_MAX_NR_SECCTX);
SAME_VALUE(kExpireOnly, FUSE_EXPIRE_ONLY);
SAME_VALUE(Notify::poll, FUSE_NOTIFY_POLL);
SAME_VALUE(Notify::inval_inode, FUSE_NOTIFY_INVAL_INODE);
SAME_VALUE(Notify::inval_entry, FUSE_NOTIFY_INVAL_ENTRY);
SAME_VALUE(Notify::store, FUSE_NOTIFY_STORE);
SAME_VALUE(Notify::retrieve, FUSE_NOTIFY_RETRIEVE);
SAME_VALUE(Notify::del, FUSE_NOTIFY_DELETE);

SAME_VALUE(Opcode::lookup, FUSE_LOOKUP);
SAME_VALUE(Opcode::forget, FUSE_FORGET);
SAME_VALUE(Opcode::getattr, FUSE_GETATTR);
SAME_VALUE(Opcode::setattr, FUSE_SETATTR);
SAME_VALUE(Opcode::readlink, FUSE_READLINK);
SAME_VALUE(Opcode::symlink, FUSE_SYMLINK);
SAME_VALUE(Opcode::mknod, FUSE_MKNOD);
SAME_VALUE(Opcode::mkdir, FUSE_MKDIR);
SAME_VALUE(Opcode::unlink, FUSE_UNLINK);
SAME_VALUE(Opcode::rmdir, FUSE_RMDIR);
SAME_VALUE(Opcode::rename, FUSE_RENAME);
SAME_VALUE(Opcode::link, FUSE_LINK);
SAME_VALUE(Opcode::open, FUSE_OPEN);
SAME_VALUE(Opcode::read, FUSE_READ);
SAME_VALUE(Opcode::write, FUSE_WRITE);
SAME_VALUE(Opcode::statfs, FUSE_STATFS);
SAME_VALUE(Opcode::release, FUSE_RELEASE);
SAME_VALUE(Opcode::fsync, FUSE_FSYNC);
SAME_VALUE(Opcode::setxattr, FUSE_SETXATTR);
SAME_VALUE(Opcode::getxattr, FUSE_GETXATTR);
SAME_VALUE(Opcode::listxattr, FUSE_LISTXATTR);
SAME_VALUE(Opcode::removexattr, FUSE_REMOVEXATTR);
SAME_VALUE(Opcode::flush, FUSE_FLUSH);
SAME_VALUE(Opcode::init, FUSE_INIT);
SAME_VALUE(Opcode::opendir, FUSE_OPENDIR);
SAME_VALUE(Opcode::readdir, FUSE_READDIR);
SAME_VALUE(Opcode::releasedir, FUSE_RELEASEDIR);
SAME_VALUE(Opcode::fsyncdir, FUSE_FSYNCDIR);
SAME_VALUE(Opcode::getlk, FUSE_GETLK);
SAME_VALUE(Opcode::setlk, FUSE_SETLK);
SAME_VALUE(Opcode::setlkw, FUSE_SETLKW);
SAME_VALUE(Opcode::access, FUSE_ACCESS);
SAME_VALUE(Opcode::create, FUSE_CREATE);
SAME_VALUE(Opcode::interrupt, FUSE_INTERRUPT);
SAME_VALUE(Opcode::bmap, FUSE_BMAP);
SAME_VALUE(Opcode::destroy, FUSE_DESTROY);
SAME_VALUE(Opcode::ioctl, FUSE_IOCTL);
SAME_VALUE(Opcode::poll, FUSE_POLL);
SAME_VALUE(Opcode::notify_reply, FUSE_NOTIFY_REPLY);
SAME_VALUE(Opcode::batch_forget, FUSE_BATCH_FORGET);
SAME_VALUE(Opcode::fallocate, FUSE_FALLOCATE);
SAME_VALUE(Opcode::readdirplus, FUSE_READDIRPLUS);
SAME_VALUE(Opcode::rename2, FUSE_RENAME2);
SAME_VALUE(Opcode::lseek, FUSE_LSEEK);
SAME_VALUE(Opcode::copy_file_range, FUSE_COPY_FILE_RANGE);
SAME_VALUE(Opcode::setupmapping, FUSE_SETUPMAPPING);
SAME_VALUE(Opcode::removemapping, FUSE_REMOVEMAPPING);
SAME_VALUE(Opcode::syncfs, FUSE_SYNCFS);
SAME_VALUE(Opcode::tmpfile, FUSE_TMPFILE);

}  // namespace
}  // namespace passthroughfs::wire
