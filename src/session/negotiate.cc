// SPDX-License-Identifier: Apache-2.0
#include "session/negotiate.h"

#include <algorithm>

#include "channel/uring.h"

namespace passthroughfs {
namespace {

using namespace wire::init_flag;

constexpr std::uint64_t kWanted =
    async_read | big_writes | async_dio |
    // O_TRUNC arrives with OPEN, so that the source truncates as one step with the open.
    atomic_o_trunc |
    // The source applies the umask, because a default ACL overrides it.
    dont_mask |
    // Pages go when a refreshed mtime or size shows that the file changed behind the mount.
    auto_inval_data |
    // Every listing may bring attributes along; which do, ops/listing_habits.h says. (The kernel's
    // own guess, readdirplus_auto, asks for attributes at every start and for names in what
    // follows.)
    do_readdirplus | parallel_dirops |
    // Set-id bits: one check per file instead of one per write; what it asks of us is in
    // ops/attr.cc and as_modifier().
    handle_killpriv_v2 | setxattr_ext | create_supp_group |
    // Access control lists of the source are enforced by the kernel.
    posix_acl | abort_error | max_pages | init_ext | direct_io_allow_mmap | has_ioctl_dir |
    has_expire_only |
    // What was not answered is asked for again after a crash.
    has_resend;

constexpr std::uint32_t kPageSize = 4096;

}  // namespace

Result<Negotiated> negotiate(const wire::InitRequest& offer, const MountConfig& config,
                             bool stacked_source, bool rings) noexcept {
  Negotiated out;
  out.reply.major = wire::kMajor;
  out.reply.minor = wire::kMinor;
  if (offer.major > wire::kMajor) {
    out.again = true;
    return out;
  }
  if (offer.major < wire::kMajor || offer.minor < wire::kOldestMinor) return Err(EPROTO);

  std::uint64_t wanted = kWanted;
  if (config.handles == HandleMode::table) {
    // The kernel has one or the other: with both it quietly leaves passthrough out.
    if (config.writeback) {
      wanted |= writeback_cache;
    } else if (config.io != IoMode::daemon) {
      wanted |= passthrough;
    }
  } else {
    // Without OPEN nobody would tell of O_TRUNC, so the kernel has to send SETATTR for it.
    wanted &= ~atomic_o_trunc;
    wanted |= no_open_support | no_opendir_support;
  }
  // Locks go to the source, where those who work there directly see them.
  if (!locks_stay_in_kernel(config)) wanted |= posix_locks | flock_locks;
  // Where a link leads never changes: another one is another inode.
  if (config.cache == CacheMode::forever || config.cache == CacheMode::coherent) {
    wanted |= cache_symlinks;
  }
  if (rings) wanted |= over_io_uring;
  out.flags = offer.flags & wanted;
  out.reply.minor = std::min(offer.minor, wire::kMinor);
  out.reply.flags = static_cast<std::uint32_t>(out.flags);
  out.reply.flags2 = static_cast<std::uint32_t>(out.flags >> 32);
  out.reply.max_readahead = std::min(offer.max_readahead, config.max_write);
  out.reply.max_write = std::max(config.max_write, kPageSize);
  out.reply.max_pages =
      static_cast<std::uint16_t>(std::min<std::uint32_t>(config.max_write / kPageSize, 0xffff));
  if ((out.flags & over_io_uring) != 0) {
    out.reply.max_pages = static_cast<std::uint16_t>(
        std::min<std::uint32_t>(uring_max_pages(config.max_write), 0xffff));
  }
  // Read-ahead, asynchronous direct I/O and RELEASE wait in this queue.
  out.reply.max_background = 64;
  out.reply.congestion_threshold = 48;
  out.reply.time_gran = 1;
  // 1: an overlayfs may still use this mount as a layer.
  if ((out.flags & passthrough) != 0) out.reply.max_stack_depth = stacked_source ? 2 : 1;
  out.decode.setxattr_ext = (out.flags & setxattr_ext) != 0;
  return out;
}

}  // namespace passthroughfs
