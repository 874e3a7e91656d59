// SPDX-License-Identifier: Apache-2.0
//
// The FUSE kernel interface up to protocol 7.45 (Linux 6.18), as plain structs. Ours because
// Debian 12's <linux/fuse.h> stops at 7.38; abi_check.cc compares the two where they overlap.
// Layouts are the kernel's: native byte order, naturally aligned, no implicit padding.
#pragma once

#include <cstddef>
#include <cstdint>

namespace passthroughfs::wire {

inline constexpr std::uint32_t kMajor = 7;
inline constexpr std::uint32_t kMinor = 45;
inline constexpr std::uint32_t kOldestMinor = 31;  // Linux 5.4; what we serve starts at 6.1 (7.37)
inline constexpr std::uint64_t kRootNodeId = 1;
inline constexpr std::size_t kMinReadBuffer = 8192;

// ---- requests and replies, common -------------------------------------------------------------

struct InHeader {
  std::uint32_t len;
  std::uint32_t opcode;
  std::uint64_t unique;
  std::uint64_t nodeid;
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint32_t pid;
  std::uint16_t total_extlen;  // in 8-byte units, at the end of the request
  std::uint16_t padding;
};
static_assert(sizeof(InHeader) == 40);

struct OutHeader {
  std::uint32_t len;
  std::int32_t error;  // 0 or a negative errno; a notification code when unique is 0
  std::uint64_t unique;
};
static_assert(sizeof(OutHeader) == 16);

struct Attr {
  std::uint64_t ino;
  std::uint64_t size;
  std::uint64_t blocks;
  std::uint64_t atime;
  std::uint64_t mtime;
  std::uint64_t ctime;
  std::uint32_t atimensec;
  std::uint32_t mtimensec;
  std::uint32_t ctimensec;
  std::uint32_t mode;
  std::uint32_t nlink;
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint32_t rdev;
  std::uint32_t blksize;
  std::uint32_t flags;
};
static_assert(sizeof(Attr) == 88);

struct EntryOut {
  std::uint64_t nodeid;
  std::uint64_t generation;
  std::uint64_t entry_valid;
  std::uint64_t attr_valid;
  std::uint32_t entry_valid_nsec;
  std::uint32_t attr_valid_nsec;
  Attr attr;
};
static_assert(sizeof(EntryOut) == 128);

struct AttrOut {
  std::uint64_t attr_valid;
  std::uint32_t attr_valid_nsec;
  std::uint32_t dummy;
  Attr attr;
};
static_assert(sizeof(AttrOut) == 104);

struct SxTime {
  std::int64_t tv_sec;
  std::uint32_t tv_nsec;
  std::int32_t reserved;
};

struct Statx {
  std::uint32_t mask;
  std::uint32_t blksize;
  std::uint64_t attributes;
  std::uint32_t nlink;
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint16_t mode;
  std::uint16_t spare0;
  std::uint64_t ino;
  std::uint64_t size;
  std::uint64_t blocks;
  std::uint64_t attributes_mask;
  SxTime atime;
  SxTime btime;
  SxTime ctime;
  SxTime mtime;
  std::uint32_t rdev_major;
  std::uint32_t rdev_minor;
  std::uint32_t dev_major;
  std::uint32_t dev_minor;
  std::uint64_t spare2[14];
};
static_assert(sizeof(Statx) == 256);

struct StatxIn {
  std::uint32_t getattr_flags;
  std::uint32_t reserved;
  std::uint64_t fh;
  std::uint32_t sx_flags;
  std::uint32_t sx_mask;
};
static_assert(sizeof(StatxIn) == 24);

struct StatxOut {
  std::uint64_t attr_valid;
  std::uint32_t attr_valid_nsec;
  std::uint32_t flags;
  std::uint64_t spare[2];
  Statx stat;
};
static_assert(sizeof(StatxOut) == 288);

// ---- operations --------------------------------------------------------------------------------

struct ForgetIn {
  std::uint64_t nlookup;
};
struct ForgetOne {
  std::uint64_t nodeid;
  std::uint64_t nlookup;
};
struct BatchForgetIn {
  std::uint32_t count;
  std::uint32_t dummy;
};
struct GetattrIn {
  std::uint32_t getattr_flags;
  std::uint32_t dummy;
  std::uint64_t fh;
};
struct SetattrIn {
  std::uint32_t valid;
  std::uint32_t padding;
  std::uint64_t fh;
  std::uint64_t size;
  std::uint64_t lock_owner;
  std::uint64_t atime;
  std::uint64_t mtime;
  std::uint64_t ctime;
  std::uint32_t atimensec;
  std::uint32_t mtimensec;
  std::uint32_t ctimensec;
  std::uint32_t mode;
  std::uint32_t unused4;
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint32_t unused5;
};
static_assert(sizeof(SetattrIn) == 88);
struct MknodIn {
  std::uint32_t mode;
  std::uint32_t rdev;
  std::uint32_t umask;
  std::uint32_t padding;
};
struct MkdirIn {
  std::uint32_t mode;
  std::uint32_t umask;
};
struct RenameIn {
  std::uint64_t newdir;
};
struct Rename2In {
  std::uint64_t newdir;
  std::uint32_t flags;
  std::uint32_t padding;
};
struct LinkIn {
  std::uint64_t oldnodeid;
};
struct OpenIn {
  std::uint32_t flags;
  std::uint32_t open_flags;
};
struct CreateIn {
  std::uint32_t flags;
  std::uint32_t mode;
  std::uint32_t umask;
  std::uint32_t open_flags;
};
struct OpenOut {
  std::uint64_t fh;
  std::uint32_t open_flags;
  std::int32_t backing_id;
};
struct ReleaseIn {
  std::uint64_t fh;
  std::uint32_t flags;
  std::uint32_t release_flags;
  std::uint64_t lock_owner;
};
struct FlushIn {
  std::uint64_t fh;
  std::uint32_t unused;
  std::uint32_t padding;
  std::uint64_t lock_owner;
};
struct ReadIn {
  std::uint64_t fh;
  std::uint64_t offset;
  std::uint32_t size;
  std::uint32_t read_flags;
  std::uint64_t lock_owner;
  std::uint32_t flags;
  std::uint32_t padding;
};
static_assert(sizeof(ReadIn) == 40);
struct WriteIn {
  std::uint64_t fh;
  std::uint64_t offset;
  std::uint32_t size;
  std::uint32_t write_flags;
  std::uint64_t lock_owner;
  std::uint32_t flags;
  std::uint32_t padding;
};
static_assert(sizeof(WriteIn) == 40);
struct WriteOut {
  std::uint32_t size;
  std::uint32_t padding;
};
struct StatfsOut {
  std::uint64_t blocks;
  std::uint64_t bfree;
  std::uint64_t bavail;
  std::uint64_t files;
  std::uint64_t ffree;
  std::uint32_t bsize;
  std::uint32_t namelen;
  std::uint32_t frsize;
  std::uint32_t padding;
  std::uint32_t spare[6];
};
static_assert(sizeof(StatfsOut) == 80);
struct FsyncIn {
  std::uint64_t fh;
  std::uint32_t fsync_flags;
  std::uint32_t padding;
};
struct SetxattrIn {  // with FUSE_SETXATTR_EXT
  std::uint32_t size;
  std::uint32_t flags;
  std::uint32_t setxattr_flags;
  std::uint32_t padding;
};
inline constexpr std::size_t kCompatSetxattrInSize = 8;
struct GetxattrIn {
  std::uint32_t size;
  std::uint32_t padding;
};
struct GetxattrOut {
  std::uint32_t size;
  std::uint32_t padding;
};
struct FileLock {
  std::uint64_t start;
  std::uint64_t end;
  std::uint32_t type;
  std::uint32_t pid;
};
struct LkIn {
  std::uint64_t fh;
  std::uint64_t owner;
  FileLock lk;
  std::uint32_t lk_flags;
  std::uint32_t padding;
};
static_assert(sizeof(LkIn) == 48);
struct LkOut {
  FileLock lk;
};
struct AccessIn {
  std::uint32_t mask;
  std::uint32_t padding;
};
struct InterruptIn {
  std::uint64_t unique;
};
struct BmapIn {
  std::uint64_t block;
  std::uint32_t blocksize;
  std::uint32_t padding;
};
struct IoctlIn {
  std::uint64_t fh;
  std::uint32_t flags;
  std::uint32_t cmd;
  std::uint64_t arg;
  std::uint32_t in_size;
  std::uint32_t out_size;
};
static_assert(sizeof(IoctlIn) == 32);
struct IoctlOut {
  std::int32_t result;
  std::uint32_t flags;
  std::uint32_t in_iovs;
  std::uint32_t out_iovs;
};
struct PollIn {
  std::uint64_t fh;
  std::uint64_t kh;
  std::uint32_t flags;
  std::uint32_t events;
};
struct PollOut {
  std::uint32_t revents;
  std::uint32_t padding;
};
struct FallocateIn {
  std::uint64_t fh;
  std::uint64_t offset;
  std::uint64_t length;
  std::uint32_t mode;
  std::uint32_t padding;
};
struct LseekIn {
  std::uint64_t fh;
  std::uint64_t offset;
  std::uint32_t whence;
  std::uint32_t padding;
};
struct LseekOut {
  std::uint64_t offset;
};
struct CopyFileRangeIn {
  std::uint64_t fh_in;
  std::uint64_t off_in;
  std::uint64_t nodeid_out;
  std::uint64_t fh_out;
  std::uint64_t off_out;
  std::uint64_t len;
  std::uint64_t flags;
};
static_assert(sizeof(CopyFileRangeIn) == 56);
struct CopyFileRangeOut {  // COPY_FILE_RANGE_64; the 32-bit opcode answers with WriteOut
  std::uint64_t bytes_copied;
};
struct SyncfsIn {
  std::uint64_t padding;
};

struct Dirent {
  std::uint64_t ino;
  std::uint64_t off;
  std::uint32_t namelen;
  std::uint32_t type;
  // then the name, padded with zeroes to 8 bytes
};
static_assert(sizeof(Dirent) == 24);
struct DirentPlus {
  EntryOut entry;
  Dirent dirent;
};
static_assert(sizeof(DirentPlus) == 152);

// ---- INIT --------------------------------------------------------------------------------------

struct InitIn {
  std::uint32_t major;
  std::uint32_t minor;
  std::uint32_t max_readahead;
  std::uint32_t flags;
  std::uint32_t flags2;
  std::uint32_t unused[11];
};
static_assert(sizeof(InitIn) == 64);
inline constexpr std::size_t kCompatInitInSize = 16;  // up to 7.35: no flags2

struct InitOut {
  std::uint32_t major;
  std::uint32_t minor;
  std::uint32_t max_readahead;
  std::uint32_t flags;
  std::uint16_t max_background;
  std::uint16_t congestion_threshold;
  std::uint32_t max_write;
  std::uint32_t time_gran;
  std::uint16_t max_pages;
  std::uint16_t map_alignment;
  std::uint32_t flags2;
  std::uint32_t max_stack_depth;
  std::uint16_t request_timeout;
  std::uint16_t unused[11];
};
static_assert(sizeof(InitOut) == 64);

// Flags have the kernel's names: wire::init_flag::posix_locks is FUSE_POSIX_LOCKS.
// NOLINTBEGIN(readability-identifier-naming)

// INIT flags: bits 0-31 travel in `flags`, 32-63 in `flags2` (read only if init_ext is set).
namespace init_flag {
inline constexpr std::uint64_t async_read = 1ULL << 0;
inline constexpr std::uint64_t posix_locks = 1ULL << 1;
inline constexpr std::uint64_t file_ops = 1ULL << 2;
inline constexpr std::uint64_t atomic_o_trunc = 1ULL << 3;
inline constexpr std::uint64_t export_support = 1ULL << 4;
inline constexpr std::uint64_t big_writes = 1ULL << 5;
inline constexpr std::uint64_t dont_mask = 1ULL << 6;
inline constexpr std::uint64_t splice_write = 1ULL << 7;
inline constexpr std::uint64_t splice_move = 1ULL << 8;
inline constexpr std::uint64_t splice_read = 1ULL << 9;
inline constexpr std::uint64_t flock_locks = 1ULL << 10;
inline constexpr std::uint64_t has_ioctl_dir = 1ULL << 11;
inline constexpr std::uint64_t auto_inval_data = 1ULL << 12;
inline constexpr std::uint64_t do_readdirplus = 1ULL << 13;
inline constexpr std::uint64_t readdirplus_auto = 1ULL << 14;
inline constexpr std::uint64_t async_dio = 1ULL << 15;
inline constexpr std::uint64_t writeback_cache = 1ULL << 16;
inline constexpr std::uint64_t no_open_support = 1ULL << 17;
inline constexpr std::uint64_t parallel_dirops = 1ULL << 18;
inline constexpr std::uint64_t handle_killpriv = 1ULL << 19;
inline constexpr std::uint64_t posix_acl = 1ULL << 20;
inline constexpr std::uint64_t abort_error = 1ULL << 21;
inline constexpr std::uint64_t max_pages = 1ULL << 22;
inline constexpr std::uint64_t cache_symlinks = 1ULL << 23;
inline constexpr std::uint64_t no_opendir_support = 1ULL << 24;
inline constexpr std::uint64_t explicit_inval_data = 1ULL << 25;
inline constexpr std::uint64_t map_alignment = 1ULL << 26;
inline constexpr std::uint64_t submounts = 1ULL << 27;
inline constexpr std::uint64_t handle_killpriv_v2 = 1ULL << 28;
inline constexpr std::uint64_t setxattr_ext = 1ULL << 29;
inline constexpr std::uint64_t init_ext = 1ULL << 30;
inline constexpr std::uint64_t security_ctx = 1ULL << 32;
inline constexpr std::uint64_t has_inode_dax = 1ULL << 33;
inline constexpr std::uint64_t create_supp_group = 1ULL << 34;
inline constexpr std::uint64_t has_expire_only = 1ULL << 35;
inline constexpr std::uint64_t direct_io_allow_mmap = 1ULL << 36;
inline constexpr std::uint64_t passthrough = 1ULL << 37;
inline constexpr std::uint64_t no_export_support = 1ULL << 38;
inline constexpr std::uint64_t has_resend = 1ULL << 39;
inline constexpr std::uint64_t allow_idmap = 1ULL << 40;
inline constexpr std::uint64_t over_io_uring = 1ULL << 41;
inline constexpr std::uint64_t request_timeout = 1ULL << 42;
}  // namespace init_flag

// ---- flag words --------------------------------------------------------------------------------

namespace fopen_flag {  // OpenOut::open_flags
inline constexpr std::uint32_t direct_io = 1U << 0;
inline constexpr std::uint32_t keep_cache = 1U << 1;
inline constexpr std::uint32_t nonseekable = 1U << 2;
inline constexpr std::uint32_t cache_dir = 1U << 3;
inline constexpr std::uint32_t stream = 1U << 4;
inline constexpr std::uint32_t noflush = 1U << 5;
inline constexpr std::uint32_t parallel_direct_writes = 1U << 6;
inline constexpr std::uint32_t passthrough = 1U << 7;
}  // namespace fopen_flag

namespace setattr_valid {  // SetattrIn::valid
inline constexpr std::uint32_t mode = 1U << 0;
inline constexpr std::uint32_t uid = 1U << 1;
inline constexpr std::uint32_t gid = 1U << 2;
inline constexpr std::uint32_t size = 1U << 3;
inline constexpr std::uint32_t atime = 1U << 4;
inline constexpr std::uint32_t mtime = 1U << 5;
inline constexpr std::uint32_t fh = 1U << 6;
inline constexpr std::uint32_t atime_now = 1U << 7;
inline constexpr std::uint32_t mtime_now = 1U << 8;
inline constexpr std::uint32_t lock_owner = 1U << 9;
inline constexpr std::uint32_t ctime = 1U << 10;
inline constexpr std::uint32_t kill_suidgid = 1U << 11;
}  // namespace setattr_valid

inline constexpr std::uint32_t kGetattrFh = 1U << 0;        // GetattrIn, StatxIn
inline constexpr std::uint32_t kOpenKillSuidgid = 1U << 0;  // OpenIn/CreateIn::open_flags
inline constexpr std::uint32_t kReleaseFlush = 1U << 0;     // ReleaseIn::release_flags
inline constexpr std::uint32_t kReleaseFlockUnlock = 1U << 1;
inline constexpr std::uint32_t kReadLockOwner = 1U << 1;  // ReadIn::read_flags
inline constexpr std::uint32_t kWriteCache = 1U << 0;     // WriteIn::write_flags: page writeback
inline constexpr std::uint32_t kWriteLockOwner = 1U << 1;
inline constexpr std::uint32_t kWriteKillSuidgid = 1U << 2;
inline constexpr std::uint32_t kFsyncFdatasync = 1U << 0;  // FsyncIn::fsync_flags
inline constexpr std::uint32_t kLkFlock = 1U << 0;         // LkIn::lk_flags
inline constexpr std::uint32_t kSetxattrAclKillSgid = 1U << 0;
inline constexpr std::uint32_t kIoctlCompat = 1U << 0;  // IoctlIn::flags
inline constexpr std::uint32_t kIoctlUnrestricted = 1U << 1;
inline constexpr std::uint32_t kIoctl32Bit = 1U << 3;
inline constexpr std::uint32_t kIoctlDir = 1U << 4;
inline constexpr std::uint64_t kUniqueResend = 1ULL << 63;  // set in a request sent again
inline constexpr std::uint32_t kFmodeExec = 0x20;           // OpenIn::flags: opened by execve
// OpenIn::flags: the kernel's O_LARGEFILE (the C library's is 0 where off_t is 64 bits). Every open
// by a 64-bit program has it; one that the kernel makes for an ioctl on an open file has not.
#if defined(__aarch64__) || defined(__arm__)
inline constexpr std::uint32_t kLargeFile = 0400000;
#elif defined(__powerpc__)
inline constexpr std::uint32_t kLargeFile = 0200000;
#else
inline constexpr std::uint32_t kLargeFile = 0100000;
#endif

// ---- extensions at the end of create requests --------------------------------------------------

struct ExtHeader {
  std::uint32_t size;  // whole extension, a multiple of 8
  std::uint32_t type;
};
inline constexpr std::uint32_t kMaxNrSecctx = 31;  // smaller types: so many security contexts
inline constexpr std::uint32_t kExtGroups = 32;
struct SuppGroups {
  std::uint32_t nr_groups;
  // then nr_groups 32-bit gids
};

// ---- notifications -----------------------------------------------------------------------------

enum class Notify : std::int32_t {
  poll = 1,
  inval_inode = 2,
  inval_entry = 3,
  store = 4,
  retrieve = 5,
  del = 6,
  resend = 7,
  inc_epoch = 8,
  prune = 9,
};
struct NotifyInvalInodeOut {
  std::uint64_t ino;
  std::int64_t off;
  std::int64_t len;
};
struct NotifyInvalEntryOut {
  std::uint64_t parent;
  std::uint32_t namelen;
  std::uint32_t flags;
};
inline constexpr std::uint32_t kExpireOnly = 1U << 0;
struct NotifyRetrieveOut {
  std::uint64_t notify_unique;
  std::uint64_t nodeid;
  std::uint64_t offset;
  std::uint32_t size;
  std::uint32_t padding;
};
static_assert(sizeof(NotifyRetrieveOut) == 32);

// ---- over io_uring (protocol 7.42) -------------------------------------------------------------

// What precedes the payload of a ring entry, in memory that the entry was registered with.
struct UringEntInOut {
  std::uint64_t flags;
  std::uint64_t commit_id;   // names the request in the commit
  std::uint32_t payload_sz;  // bytes in the payload buffer, of the request and then of the answer
  std::uint32_t padding;
  std::uint64_t reserved;
};
struct UringReqHeader {
  std::byte in_out[128];  // InHeader, then OutHeader
  std::byte op_in[128];   // the request's own struct
  UringEntInOut ring_ent_in_out;
};
static_assert(sizeof(UringReqHeader) == 288);

enum class UringCmd : std::uint32_t { register_entry = 1, commit_and_fetch = 2 };
// In the second half of a 128-byte submission.
struct UringCmdReq {
  std::uint64_t flags;
  std::uint64_t commit_id;
  std::uint16_t qid;
  std::uint8_t padding[6];
};
static_assert(sizeof(UringCmdReq) == 24);

// ---- ioctls on /dev/fuse -----------------------------------------------------------------------

struct BackingMap {
  std::int32_t fd;
  std::uint32_t flags;
  std::uint64_t padding;
};
static_assert(sizeof(BackingMap) == 16);

// NOLINTEND(readability-identifier-naming)

}  // namespace passthroughfs::wire
