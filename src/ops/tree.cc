// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "ops/announce.h"
#include "ops/attributes.h"
#include "ops/handlers.h"

namespace passthroughfs::ops {
namespace {

// Whether what has the name now was made by this very request, before the process died that served
// it. `same(parent, name)`: it also is what the request asks for.
template <typename Same>
bool was_made(OpContext& context, const InodeRef& parent, const char* name, Same&& same) {
  if (!context.repeat.again) return false;
  const auto st = sys::stat_at(parent.fd(), name, STATX_BASIC_STATS | STATX_BTIME);
  return st && context.repeat.has_made(*st) && same(*st);
}

// Makes something new below the request's node as the caller, then looks it up. `type`: S_IF*.
template <typename Make>
Result<EntryReply> make_entry(OpContext& context, std::string_view name, mode_t type,
                              std::uint32_t umask, Make&& make) {
  const InodeRef parent = TRY(context.node());
  TRY(context.take_groups());
  // The source applies the mask itself, because a default ACL overrides it.
  set_thread_umask(umask);
  AnnouncedNames change(context);
  change.creates(parent, name);
  auto made =
      as_caller(context.caller, [&] { return check_void(make(parent.fd().get(), name.data())); });
  if (!made && !(made.error() == EEXIST && was_made(context, parent, name.data(), [&](auto& st) {
                   return (st.stx_mode & S_IFMT) == type;
                 }))) {
    return made.error();
  }
  InodeRef inode;
  auto entry = look_up(context.state, parent, name.data(), &inode);
  if (entry && inode->type != type) {
    // Replaced behind the mount between the two calls. The kernel takes a name of another kind for
    // a broken daemon; told that its view is old it asks anew, and finds what is there.
    (void)context.state.inodes->forget(entry->nodeid, 1);
    entry = Err(ESTALE);
  }
  if (!entry) {
    change.made_unseen(parent);
    return entry.error();
  }
  change.made(inode);
  return EntryReply{*entry};
}

// An inode whose last name goes away can no longer be opened by its file handle. If it is known and
// has given up its descriptor, this gets it back and keeps it over the removal; afterwards it is
// not given up again. Nothing to do as long as no descriptor was ever given up.
class KeptOverRemoval {
 public:
  KeptOverRemoval(MountState& state, const InodeRef& parent, const char* name)
      : removal_(*state.inodes) {
    if (!removal_.must_look()) return;
    auto st = sys::stat_at(parent.fd(), name, STATX_INO | STATX_NLINK);
    if (!st) return;
    auto known =
        state.inodes->find({device_number(st->stx_dev_major, st->stx_dev_minor), st->stx_ino});
    if (known) inode_ = std::move(*known);
  }

 private:
  InodeTable::Removal removal_;
  InodeRef inode_;
};

// The kernel marks the directory as dead that it believes to have a name which RMDIR removes, for
// as long as it knows it: that must not be one which was moved away behind the mount. ESTALE makes
// it look once more and ask again; in vain after a rename through the mount, which notes no place.
bool is_what_kernel_believes(MountState& state, const InodeRef& parent, std::string_view name) {
  const auto st = sys::stat_at(parent.fd(), name.data(), STATX_INO);
  return !st || state.inodes->is_told_at(
                    {device_number(st->stx_dev_major, st->stx_dev_minor), st->stx_ino},
                    InodeTable::place_of(parent.id(), name));
}

Result<void> remove(OpContext& context, std::string_view name, int flags) {
  const InodeRef parent = TRY(context.node());
  if (flags == AT_REMOVEDIR && !is_what_kernel_believes(context.state, parent, name)) {
    return Err(ESTALE);
  }
  const KeptOverRemoval kept(context.state, parent, name.data());
  AnnouncedNames change(context);
  change.removes(parent, name);
  auto removed = as_caller(context.caller, [&] {
    return check_void(::unlinkat(parent.fd().get(), name.data(), flags));
  });
  // The kernel asks to remove only what it has seen, and lets nobody else at it meanwhile.
  if (!removed && removed.error() == ENOENT && context.repeat.again) return ok();
  if (!removed) return removed.error();
  change.happened();
  return ok();
}

}  // namespace

Result<ByteSpan> readlink(OpContext& context, const wire::ReadlinkRequest&) {
  const InodeRef inode = TRY(context.node());
  const std::size_t room = std::min<std::size_t>(context.buffer.size(), PATH_MAX);
  const ssize_t size =
      ::readlinkat(inode.fd().get(), "", reinterpret_cast<char*>(context.buffer.data()), room);
  // An O_PATH descriptor of anything but a link gives ENOENT here; the client should see EINVAL.
  if (size < 0) return errno == ENOENT ? Err(EINVAL) : Errno::last();
  return ByteSpan(context.buffer.first(static_cast<std::size_t>(size)));
}

Result<EntryReply> symlink(OpContext& context, const wire::SymlinkRequest& request) {
  return make_entry(context, request.name, S_IFLNK, 0, [&](int parent, const char* name) {
    return ::symlinkat(request.target.data(), parent, name);
  });
}

Result<EntryReply> mknod(OpContext& context, const wire::MknodRequest& request) {
  const mode_t type = (request.mode & S_IFMT) != 0 ? request.mode & S_IFMT : S_IFREG;
  return make_entry(context, request.name, type, request.umask, [&](int parent, const char* name) {
    return ::mknodat(parent, name, request.mode, decode_device(request.rdev));
  });
}

Result<EntryReply> mkdir(OpContext& context, const wire::MkdirRequest& request) {
  return make_entry(
      context, request.name, S_IFDIR, request.umask,
      [&](int parent, const char* name) { return ::mkdirat(parent, name, request.mode); });
}

Result<EntryReply> link(OpContext& context, const wire::LinkRequest& request) {
  const InodeRef inode = TRY(context.state.inodes->get(request.old_nodeid));
  const InodeRef parent = TRY(context.node());
  const char* name = request.name.data();
  AnnouncedNames change(context);
  change.links(parent, request.name);
  // Linking a descriptor needs CAP_DAC_READ_SEARCH, which gives no right over the new name's
  // directory; without it (mounted by a user) the link in /proc does, except for symbolic links.
  auto linked = as_caller(
      context.caller,
      [&] {
        return check_void(::linkat(inode.fd().get(), "", parent.fd().get(), name, AT_EMPTY_PATH));
      },
      kCapDacReadSearch);
  if (!linked && linked.error() == ENOENT) {
    const sys::ProcFdPath path(inode.fd());
    linked = as_caller(context.caller, [&] {
      return check_void(
          ::linkat(AT_FDCWD, path.c_str(), parent.fd().get(), name, AT_SYMLINK_FOLLOW));
    });
  }
  // Made before the process died that served this: whoever had the name before is another file.
  const bool made_before = !linked && linked.error() == EEXIST && context.repeat.again && [&] {
    const auto st = sys::stat_at(parent.fd(), name, STATX_INO);
    return st && st->stx_ino == inode->key.ino &&
           device_number(st->stx_dev_major, st->stx_dev_minor) == inode->key.device;
  }();
  if (!linked && !made_before) return linked.error();
  change.made(inode);
  return EntryReply{TRY(look_up(context.state, parent, name))};
}

Result<void> unlink(OpContext& context, const wire::UnlinkRequest& request) {
  return remove(context, request.name, 0);
}

Result<void> rmdir(OpContext& context, const wire::RmdirRequest& request) {
  return remove(context, request.name, AT_REMOVEDIR);
}

namespace {

// An exchange that is made twice is not made; and a whiteout would follow what it stands for. Which
// file has the old name tells whether it was made before.
bool was_moved(OpContext& context, const InodeRef& from, const wire::RenameRequest& request) {
  if ((request.flags & (RENAME_EXCHANGE | RENAME_WHITEOUT)) == 0) return false;
  const auto st = sys::stat_at(from.fd(), request.old_name.data(), STATX_INO);
  const Repeat& repeat = context.repeat;
  if (repeat.again && repeat.subject.ino != 0) {
    return !st || st->stx_ino != repeat.subject.ino ||
           device_number(st->stx_dev_major, st->stx_dev_minor) != repeat.subject.device;
  }
  if (st) context.note_subject(*st);
  return false;
}

}  // namespace

Result<void> rename(OpContext& context, const wire::RenameRequest& request) {
  const InodeRef from = TRY(context.node());
  const InodeRef to = TRY(context.state.inodes->get(request.new_parent));
  const KeptOverRemoval kept(context.state, to, request.new_name.data());
  AnnouncedNames change(context);
  // The record of changes has it from the process that did it.
  if (was_moved(context, from, request)) return ok();
  change.moves(from, request.old_name, to, request.new_name, request.flags);
  auto moved = as_caller(context.caller, [&] {
    return check_void(::renameat2(from.fd().get(), request.old_name.data(), to.fd().get(),
                                  request.new_name.data(), request.flags));
  });
  // As for a removal: that the old name is gone is the rename's own doing.
  if (!moved && moved.error() == ENOENT && context.repeat.again) return ok();
  if (!moved) return moved.error();
  change.happened();
  return ok();
}

}  // namespace passthroughfs::ops
