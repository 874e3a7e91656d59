// SPDX-License-Identifier: Apache-2.0
#include "ops/attributes.h"

#include <sys/sysmacros.h>

#include <algorithm>

#include "ops/mapped.h"
#include "source/file_handle.h"

namespace passthroughfs {
namespace {

// Attributes of something that may turn out to be this very mount, seen inside its own source (a
// bind mount, a mount made later). Asking it for fresh attributes would send a request to
// ourselves, so the first look takes what is cached, which is all there is on a local file system.
Result<struct statx> stat_for_lookup(MountState& state, BorrowedFd fd) noexcept {
  struct statx st;
  if (::statx(fd.get(), "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC,
              STATX_BASIC_STATS, &st) < 0) {
    return Errno::last();
  }
  if (device_number(st.stx_dev_major, st.stx_dev_minor) == state.own_device) return Err(ELOOP);
  if (state.remote_source) return sys::stat_at(fd);
  return st;
}

}  // namespace

std::uint32_t encode_device(std::uint32_t major, std::uint32_t minor) noexcept {
  return (minor & 0xff) | (major << 8) | ((minor & ~0xffU) << 12);
}

dev_t decode_device(std::uint32_t encoded) noexcept {
  return ::makedev((encoded & 0xfff00) >> 8, (encoded & 0xff) | ((encoded >> 12) & 0xfff00));
}

wire::Attr to_attr(MountState& state, const struct statx& st) noexcept {
  wire::Attr attr{};
  attr.ino = state.source.devices().shown_ino(device_number(st.stx_dev_major, st.stx_dev_minor),
                                              st.stx_ino);
  attr.size = st.stx_size;
  attr.blocks = st.stx_blocks;
  attr.atime = static_cast<std::uint64_t>(st.stx_atime.tv_sec);
  attr.mtime = static_cast<std::uint64_t>(st.stx_mtime.tv_sec);
  attr.ctime = static_cast<std::uint64_t>(st.stx_ctime.tv_sec);
  attr.atimensec = st.stx_atime.tv_nsec;
  attr.mtimensec = st.stx_mtime.tv_nsec;
  attr.ctimensec = st.stx_ctime.tv_nsec;
  attr.mode = st.stx_mode;
  attr.nlink = st.stx_nlink;
  attr.uid = st.stx_uid;
  attr.gid = st.stx_gid;
  attr.rdev = encode_device(st.stx_rdev_major, st.stx_rdev_minor);
  attr.blksize = st.stx_blksize;
  return attr;
}

// The validity is asked first: should it end while the attributes are read, the kernel is told to
// drop what this brings.
Result<wire::AttrOut> attributes_of(MountState& state, const InodeRef& inode,
                                    BorrowedFd fd) noexcept {
  wire::AttrOut out{};
  out.attr_valid = attribute_validity(state, inode);
  const struct statx st = TRY(sys::stat_at(fd));
  out.attr = to_attr(state, st);
  return out;
}

wire::EntryOut to_entry(MountState& state, const InodeRef& inode, const struct statx& st) noexcept {
  wire::EntryOut out{};
  out.nodeid = inode.id();  // never reused, so the generation may stay 0
  // A name at which something is mounted is one of the directory's, on another device.
  const bool mount_root = (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  out.entry_valid = (mount_root ? state.validity : state.validity_on(inode->key.device)).entry;
  out.attr_valid = attribute_validity(state, inode);
  out.attr = to_attr(state, st);
  return out;
}

Result<wire::EntryOut> look_up(MountState& state, UniqueFd fd, InodeRef* kept) noexcept {
  const std::uint64_t heard = state.coherence.heard();
  const struct statx st = TRY(stat_for_lookup(state, fd.borrow()));
  // The root of a mount inside the source: what lies below can be opened by handle only through a
  // descriptor on that mount.
  if ((st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0 && S_ISDIR(st.stx_mode)) {
    auto handle = FileHandle::of(fd.borrow());
    if (handle && !state.source.mounts().knows(handle->mount_id)) {
      (void)state.source.mounts().remember(handle->mount_id, fd.borrow());
    }
  }
  const InodeKey key{device_number(st.stx_dev_major, st.stx_dev_minor), st.stx_ino};
  InodeRef inode = TRY(state.inodes->lookup(std::move(fd), key, st.stx_mode & S_IFMT));
  wire::EntryOut out = to_entry(state, inode, st);
  if (state.coherence.heard() != heard) {
    out.attr_valid = std::min(out.attr_valid, state.validity.attributes);
  }
  if (kept != nullptr) *kept = std::move(inode);
  return out;
}

Result<wire::EntryOut> look_up(MountState& state, const InodeRef& parent, const char* name,
                               InodeRef* kept) noexcept {
  UniqueFd fd = TRY(with_descriptors(state, [&] { return state.source.child(parent.fd(), name); }));
  InodeRef inode;
  auto entry = look_up(state, std::move(fd), &inode);
  if (entry && inode->type == S_IFDIR) {
    inode->told_place.store(InodeTable::place_of(parent.id(), name), std::memory_order_relaxed);
  }
  if (kept != nullptr) *kept = std::move(inode);
  return entry;
}

}  // namespace passthroughfs
