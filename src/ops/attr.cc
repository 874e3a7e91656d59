// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "ops/announce.h"
#include "ops/attributes.h"
#include "ops/handlers.h"
#include "ops/mapped.h"
#include "ops/open_file.h"

namespace passthroughfs::ops {
namespace {

using namespace wire::setattr_valid;

// What a request works on: the handle if it names one and it has a descriptor, else the inode,
// which is the same object.
struct Target {
  InodeRef inode;
  HandleRef handle;

  [[nodiscard]] bool opened() const noexcept { return handle && handle.fd().valid(); }
  [[nodiscard]] BorrowedFd fd() const noexcept { return opened() ? handle.fd() : inode.fd(); }
};

Result<Target> target_of(OpContext& context, std::optional<std::uint64_t> fh) {
  Target target;
  if (fh && context.state.config.handles == HandleMode::table) {
    target.handle = TRY(context.state.handles->get(*fh, context.node_id()));
  }
  target.inode = TRY(context.node());
  return target;
}

// The kernel found that a write by this caller must take set-id bits away (FUSE_HANDLE_KILLPRIV_V2
// says so by a SETATTR that sets nothing). It comes for file capabilities as well, which it removes
// itself, and then root's set-id bits must stay.
Result<void> drop_set_ids(OpContext& context, BorrowedFd fd) {
  if (context.caller.uid == 0) return ok();
  const struct statx st = TRY(sys::stat_at(fd));
  if (!S_ISREG(st.stx_mode) || (st.stx_mode & (S_ISUID | S_ISGID)) == 0) return ok();
  auto rights = CallerRights::of(context.caller);
  if (rights && (rights->file_capabilities & kCapFsetid) != 0) return ok();
  // A chown to nobody drops what a write by this caller drops, with the same regard to his groups,
  // and, other than chmod, from append-only files too. It takes an owner's right, which the writer
  // need not have: root's, without the one that would keep the bits.
  const WithoutFsetid without(true);
  if (!impersonation_enabled()) {
    if (!without.active()) return ok();  // then the write itself drops them
    // Who may write need not own the file, and then the write is all there is.
    (void)!::fchownat(fd.get(), "", static_cast<uid_t>(-1), static_cast<gid_t>(-1),
                      AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
    return ok();
  }
  const ActingAs acting(0, context.caller.gid,
                        rights ? std::span<const std::uint32_t>(rights->groups)
                               : std::span<const std::uint32_t>(context.caller.groups));
  if (!acting.ok()) return Err(EPERM);
  return check_void(::fchownat(fd.get(), "", static_cast<uid_t>(-1), static_cast<gid_t>(-1),
                               AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

// Whether a SETATTR that sets nothing can be the one above. Else it is a chown to nobody, which may
// come from anyone. Without handles the kernel's opens are not known here.
bool may_announce_write(OpContext& context) noexcept {
  return context.state.config.handles == HandleMode::stateless ||
         context.state.handles->has_writer(context.node_id());
}

Result<void> set_size(OpContext& context, const wire::SetattrRequest& request,
                      const Target& target) {
  const auto size = static_cast<off_t>(request.in.size);
  const bool kill = request.has(kill_suidgid);
  if (target.handle && !target.opened()) TRY(still_there(target.handle));
  if (target.opened() && can_write(target.handle->flags)) {
    return as_modifier(context.caller, target.fd(), kill,
                       [&] { return check_void(::ftruncate(target.fd().get(), size)); });
  }
  if (request.fh() && !target.handle) {
    // handles=stateless: ftruncate on a file that the kernel opened for writing and checked then,
    // so that the rights of today do not count.
    const OpenFile file = TRY(OpenFile::of(context, *request.fh(), O_WRONLY));
    return as_modifier(context.caller, file.fd(), kill,
                       [&] { return check_void(::ftruncate(file.fd().get(), size)); });
  }
  // No handle, or one that cannot write: by the inode, never by a path. truncate(2) on the link in
  // /proc checks the caller and moves the times just as truncate(2) on the file would.
  const sys::ProcFdPath path(target.fd());
  return as_modifier(context.caller, target.fd(), kill,
                     [&] { return check_void(::truncate(path.c_str(), size)); });
}

Result<void> set_mode(OpContext& context, const wire::SetattrRequest& request, BorrowedFd fd,
                      bool has_handle) {
  const mode_t wanted = request.in.mode & 07777;
  const auto change = [&]() -> Result<void> {
    if (has_handle) return check_void(::fchmod(fd.get(), wanted));
    return sys::chmod_fd(fd, wanted);
  };
  // With too few groups chmod would succeed and silently drop the set-group-ID bit.
  if ((wanted & S_ISGID) != 0) return as_caller_with_groups(context.caller, change);
  return as_caller(context.caller, change);
}

Result<void> set_owner(OpContext& context, const wire::SetattrRequest& request, BorrowedFd fd) {
  const uid_t owner = request.has(uid) ? request.in.uid : static_cast<uid_t>(-1);
  const gid_t group = request.has(gid) ? request.in.gid : static_cast<gid_t>(-1);
  // With too few groups chown would succeed and also drop a set-group-ID bit that a member of the
  // file's group keeps when the group may not execute.
  return as_caller_with_groups(context.caller, [&] {
    return check_void(::fchownat(fd.get(), "", owner, group, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
  });
}

Result<void> set_times(OpContext& context, const wire::SetattrRequest& request, BorrowedFd fd) {
  const auto time = [&](std::uint32_t set, std::uint32_t now, std::uint64_t sec,
                        std::uint32_t nsec) {
    timespec out{};
    if (!request.has(set)) {
      out.tv_nsec = UTIME_OMIT;
    } else if (request.has(now)) {
      out.tv_nsec = UTIME_NOW;
    } else {
      out.tv_sec = static_cast<time_t>(sec);
      out.tv_nsec = nsec;
    }
    return out;
  };
  const timespec times[2] = {time(atime, atime_now, request.in.atime, request.in.atimensec),
                             time(mtime, mtime_now, request.in.mtime, request.in.mtimensec)};
  const auto set = [&] {
    return check_void(::utimensat(fd.get(), "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
  };
  if (!context.state.config.writeback) return as_caller(context.caller, set);
  // With the writeback cache the kernel keeps the times of a file and sends them when it sees fit,
  // in the name of whoever comes along. What a program asks for it has checked.
  MutexLock lock(context.state.file_times.of(context.node_id()));
  auto done = set();
  // Writes that were let in move the times of an immutable or append-only file too.
  const bool of_writes = request.has(mtime) && !request.has(atime) && !request.has(mtime_now);
  if (!done && done.error() == EPERM && of_writes) return ok();
  return done;
}

}  // namespace

Result<wire::AttrOut> getattr(OpContext& context, const wire::GetattrRequest& request) {
  const Target target = TRY(target_of(context, request.fh));
  return attributes_of(context.state, target.inode, target.fd());
}

Result<wire::StatxOut> statx(OpContext& context, const wire::StatxRequest& request) {
  const Target target = TRY(target_of(context, request.fh));
  const struct statx st =
      TRY(sys::stat_at(target.fd(), "", (request.mask & ~STATX__RESERVED) | STATX_BASIC_STATS));
  const auto time = [](const statx_timestamp& in) {
    return wire::SxTime{in.tv_sec, in.tv_nsec, 0};
  };
  wire::StatxOut out{};
  out.attr_valid = attribute_validity(context.state, target.inode);
  wire::Statx& sx = out.stat;
  sx.mask = st.stx_mask;
  sx.blksize = st.stx_blksize;
  sx.attributes = st.stx_attributes;
  sx.attributes_mask = st.stx_attributes_mask;
  sx.nlink = st.stx_nlink;
  sx.uid = st.stx_uid;
  sx.gid = st.stx_gid;
  sx.mode = st.stx_mode;
  sx.ino = to_attr(context.state, st).ino;
  sx.size = st.stx_size;
  sx.blocks = st.stx_blocks;
  sx.atime = time(st.stx_atime);
  sx.btime = time(st.stx_btime);
  sx.ctime = time(st.stx_ctime);
  sx.mtime = time(st.stx_mtime);
  sx.rdev_major = st.stx_rdev_major;
  sx.rdev_minor = st.stx_rdev_minor;
  return out;
}

Result<wire::AttrOut> setattr(OpContext& context, const wire::SetattrRequest& request) {
  const Target target = TRY(target_of(context, request.fh()));
  const bool size_too = request.has(size);
  const bool owner = request.has(uid) || request.has(gid);
  // With a new size the source moves the times itself; explicit times still count.
  const bool now_only = (!request.has(atime) || request.has(atime_now)) &&
                        (!request.has(mtime) || request.has(mtime_now));
  const bool times = (request.has(atime) || request.has(mtime)) && !(size_too && now_only);

  std::uint8_t marks = mark::kAttributes;
  if (size_too) marks |= mark::kData;
  if (request.has(mode)) marks |= mark::kXattr;  // an access ACL has the mode in it
  if (times) marks |= mark::kTimes;
  const AnnouncedInode change(context, target.inode, target.fd(), marks);

  // First error wins, in the order in which the kernel combines them.
  Result<void> done;
  if (owner) done = set_owner(context, request, target.fd());
  if (done && request.has(mode)) done = set_mode(context, request, target.fd(), target.opened());
  if (done && size_too) done = set_size(context, request, target);
  if (done && times) done = set_times(context, request, target.fd());
  if (done && !owner && !request.has(mode) && !size_too && !times) {
    if (request.has(kill_suidgid) || !may_announce_write(context)) {
      done = set_owner(context, request, target.fd());  // chown(-1, -1)
    } else {
      done = drop_set_ids(context, target.fd());
    }
  }
  if (!done) return done.error();
  return attributes_of(context.state, target.inode, target.fd());
}

Result<void> access(OpContext& context, const wire::AccessRequest& request) {
  const InodeRef inode = TRY(context.node());
  return as_caller(context.caller, [&] {
    return check_void(
        ::syscall(SYS_faccessat2, inode.fd().get(), "", request.mask, AT_EMPTY_PATH | AT_EACCESS));
  });
}

}  // namespace passthroughfs::ops
