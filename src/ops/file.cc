// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "ops/announce.h"
#include "ops/attributes.h"
#include "ops/content_version.h"
#include "ops/handlers.h"
#include "ops/mapped.h"
#include "ops/open_file.h"

namespace passthroughfs::ops {
namespace {

// The flags of the source's descriptor. O_APPEND, O_DIRECT and the O_SYNC kinds are left out: they
// are taken from each request, because F_SETFL changes them later and page writeback must never
// append (pitfalls that every peer has).
constexpr int kKeptFlags = O_ACCMODE | O_TRUNC | O_NOATIME;

int source_flags(std::uint32_t flags) noexcept {
  return (static_cast<int>(flags) & kKeptFlags) | O_CLOEXEC;
}

// An open that no program asked for. (Or a 32-bit program without large files, whose rights the
// kernel has checked too.)
bool for_ioctl(std::uint32_t flags) noexcept {
  return (flags & (O_ACCMODE | O_TRUNC | wire::kLargeFile)) == O_RDONLY;
}

struct SourceFile {
  UniqueFd fd;
  bool append = false;
};

// A description of the same file that bypasses the page cache, as the client asked. The source may
// refuse O_DIRECT, and natively that is where open fails.
Result<UniqueFd> open_direct(MountState& state, const SourceFile& file,
                             std::uint32_t flags) noexcept {
  if ((flags & O_DIRECT) == 0) return UniqueFd();
  return reopen_direct(state, file.fd.borrow());
}

// Runs an open with and, where the source insists (append-only files), without O_APPEND stripped.
template <typename Open>
Result<SourceFile> open_without_append(std::uint32_t flags, Open&& open) {
  auto fd = open(source_flags(flags));
  if (!fd && fd.error() == EPERM && (flags & O_APPEND) != 0) {
    SourceFile appending{TRY(open(source_flags(flags) | O_APPEND)), true};
    return appending;
  }
  if (!fd) return fd.error();
  return SourceFile{std::move(*fd), false};
}

// One open's part in its inode's way of I/O, until a handle has taken it over.
class BackingUse {
 public:
  BackingUse(MountState& state, const InodeRef& inode) noexcept
      : state_(state), inode_(inode), id_(state.backings.begin_open(inode)) {}
  ~BackingUse() {
    if (!taken_) state_.backings.end_open(inode_, passthrough());
  }
  BackingUse(const BackingUse&) = delete;
  BackingUse& operator=(const BackingUse&) = delete;

  [[nodiscard]] std::int32_t id() const noexcept { return id_; }
  [[nodiscard]] bool passthrough() const noexcept { return id_ != 0; }
  void taken() noexcept { taken_ = true; }

 private:
  MountState& state_;
  const InodeRef& inode_;
  const std::int32_t id_;
  bool taken_ = false;
};

// Whether an open can do without a descriptor until something needs one. Reading in passthrough
// can: the kernel opens its own file, has checked the rights, and the daemon can open it later.
// Writing cannot: the source has a say (immutable files, a running program), and so it has in
// O_DIRECT.
bool open_later(const BackingUse& use, std::uint32_t flags) noexcept {
  return use.passthrough() && !can_write(flags) && (flags & (O_TRUNC | O_DIRECT)) == 0;
}

// A file that is only appended to. Through its page cache the kernel may send one write in two
// parts, when the first page is not up to date, and a writer on the source could come in between.
// Past the cache it is one request, and there is nobody to miss the pages: this descriptor can
// neither read nor map them.
bool appends_only(std::uint32_t flags) noexcept {
  return (flags & O_ACCMODE) == O_WRONLY && (flags & O_APPEND) != 0;
}

// With the writeback cache the kernel reads what is around the bytes of a write, through whichever
// file it has at hand. Its opener has shown that he may write; to read is the daemon's right, and
// what is read stays in the kernel. False: the daemon has no such right, so that this file has to
// be written past the cache.
bool make_readable(MountState& state, SourceFile& file) noexcept {
  auto both =
      with_descriptors(state, [&] { return state.source.reopen(file.fd.borrow(), O_RDWR); });
  if (!both) return false;
  file.fd = std::move(*both);
  return true;
}

// Whether an open's reads and writes have to go past the kernel's pages.
bool past_pages(MountState& state, SourceFile& file, std::uint32_t flags) noexcept {
  if (!state.config.writeback) return appends_only(flags);
  // Page writeback is positional, and an append-only file takes no such write.
  if (file.append) return true;
  return (flags & O_ACCMODE) == O_WRONLY && !make_readable(state, file);
}

// Whether direct writes need not wait for each other. The kernel lets them do so only on files that
// never use its pages; where these may be mapped nonetheless that takes nothing away.
bool writes_side_by_side(const MountState& state, std::uint32_t flags) noexcept {
  return (flags & O_DIRECT) != 0 && can_write(flags) && state.maps_direct_files &&
         !state.config.writeback;
}

// Whether close need not ask: it has neither locks to give back nor errors to report, nor pages of
// the kernel's that are to be written by then.
bool close_says_nothing(const MountState& state, const InodeRef& inode, const BackingUse& use,
                        std::uint32_t flags) noexcept {
  return locks_stay_in_kernel(state.config) && state.closes_silently(*inode) &&
         (use.passthrough() || !can_write(flags));
}

Result<wire::OpenOut> add_handle(OpContext& context, const InodeRef& inode, SourceFile file,
                                 std::uint32_t flags, BackingUse& use) {
  const bool past = !use.passthrough() && past_pages(context.state, file, flags);
  UniqueFd direct = TRY(open_direct(context.state, file, flags));
  if (file.fd.valid()) leave_access_times(context.state, file.fd.borrow());
  if (direct.valid()) leave_access_times(context.state, direct.borrow());
  wire::OpenOut out{};
  HandleTable::Opened opened;
  if (use.passthrough()) {
    if (context.state.changes != nullptr && can_write(flags)) {
      context.state.changes->opens(inode, file.fd.borrow(), (flags & O_ACCMODE) == O_RDWR);
    }
    out.open_flags |= wire::fopen_flag::passthrough;
    out.backing_id = use.id();
    opened.io = HandleIo::passthrough;
  } else if (past) {
    out.open_flags |= wire::fopen_flag::direct_io;
  } else if (writes_side_by_side(context.state, flags)) {
    out.open_flags |= wire::fopen_flag::direct_io | wire::fopen_flag::parallel_direct_writes;
  } else if (context.state.config.writeback || keep_pages(*inode, file.fd.borrow())) {
    out.open_flags |= wire::fopen_flag::keep_cache;
  }
  if (close_says_nothing(context.state, inode, use, flags)) {
    out.open_flags |= wire::fopen_flag::noflush;
  }
  opened.fd = std::move(file.fd);
  opened.direct_fd = std::move(direct);
  opened.flags = flags;
  opened.pid = context.request.header.pid;
  opened.append_fd = file.append;
  out.fh = TRY(context.state.handles->add(inode, std::move(opened)));
  use.taken();
  if (use.passthrough() && (flags & O_ACCMODE) == O_RDWR) begin_mappable(context.state, inode);
  return out;
}

// Whether the file was made by this very request, before the process died that served it. It will
// be opened with the daemon's rights, so what is not the caller's never is.
bool was_created(OpContext& context, const InodeRef& parent,
                 const wire::CreateRequest& request) noexcept {
  if (!context.repeat.again) return false;
  const auto st = sys::stat_at(parent.fd(), request.name.data(), STATX_BASIC_STATS | STATX_BTIME);
  if (!st || !S_ISREG(st->stx_mode) || !context.repeat.has_made(*st)) return false;
  if (impersonation_enabled() && st->stx_uid != context.caller.uid) return false;
  return (st->stx_mask & STATX_BTIME) != 0 || ((request.flags & O_EXCL) != 0 && st->stx_size == 0);
}

// A file that gets a name later, or none at all.
void tell_nameless(OpContext& context, const InodeRef& inode) noexcept {
  context.told |= bit_of(Effect::names);
  if (context.state.changes != nullptr) context.state.changes->made_nameless(inode, inode->type);
}

}  // namespace

Result<OpenReply> open(OpContext& context, const wire::OpenRequest& request) {
  // ENOSYS once, and the kernel sends no OPEN and no RELEASE any more: the stateless design.
  if (context.state.config.handles == HandleMode::stateless) return Err(ENOSYS);
  const InodeRef inode = TRY(context.node());
  // The kernel opens FIFOs, sockets and devices itself; here they could block or act.
  if (inode->type == S_IFDIR) return Err(EISDIR);
  if (inode->type != S_IFREG) return Err(ENXIO);

  const auto open_source = [&](int flags) {
    return with_kept_descriptor(context.state,
                                [&] { return context.state.source.reopen(inode.fd(), flags); });
  };
  const auto open_as_asked = [&]() -> Result<SourceFile> {
    return open_without_append(request.flags, open_source);
  };
  const bool kill = (request.open_flags & wire::kOpenKillSuidgid) != 0;
  BackingUse use(context.state, inode);
  auto file = [&]() -> Result<SourceFile> {
    if (open_later(use, request.flags)) return SourceFile{};
    // execve needs the right to execute, which the kernel has checked, and none to read. Neither
    // does FS_IOC_GETFLAGS on a file that is open, for which the kernel opens it once more.
    if ((request.flags & wire::kFmodeExec) != 0 || for_ioctl(request.flags)) {
      return open_as_asked();
    }
    if ((request.flags & O_TRUNC) != 0) {
      const AnnouncedInode change(context, inode, inode.fd(), mark::kData);
      return as_modifier(context.caller, inode.fd(), kill, open_as_asked);
    }
    return as_caller(context.caller, open_as_asked);
  }();
  if (!file) return file.error();
  return OpenReply{TRY(add_handle(context, inode, std::move(*file), request.flags, use))};
}

Result<CreateReply> create(OpContext& context, const wire::CreateRequest& request) {
  // Without CREATE the kernel makes the file by MKNOD and opens it (that is: does not open it).
  if (context.state.config.handles == HandleMode::stateless) return Err(ENOSYS);
  const InodeRef parent = TRY(context.node());
  TRY(context.take_groups());
  set_thread_umask(request.umask);
  const char* name = request.name.data();
  // O_NONBLOCK: should a FIFO have appeared under this name, the open must not wait for a peer.
  const int extra = O_CREAT | O_NOFOLLOW | O_NONBLOCK | (static_cast<int>(request.flags) & O_EXCL);
  bool born = false;
  const auto open_as_asked = [&]() -> Result<SourceFile> {
    return open_without_append(request.flags, [&](int flags) {
      return with_descriptors(context.state, [&] {
        const auto open = [&](int how) {
          return own(::openat(parent.fd().get(), name, flags | how, request.mode & 07777));
        };
        // Alone O_EXCL tells whether the file is new.
        auto fd = open(extra | O_EXCL);
        born = fd.has_value();
        if (!fd && fd.error() == EEXIST && (extra & O_EXCL) == 0) fd = open(extra);
        return fd;
      });
    });
  };
  AnnouncedNames change(context);
  change.creates(parent, request.name);
  auto file = [&]() -> Result<SourceFile> {
    if (was_created(context, parent, request)) {
      born = true;
      // It is the caller's whatever its mode says, as it is for who creates it.
      return open_without_append(request.flags, [&](int flags) {
        return with_descriptors(context.state, [&] {
          return own(::openat(parent.fd().get(), name, flags | O_NOFOLLOW | O_NONBLOCK));
        });
      });
    }
    return (request.mode & S_ISGID) != 0 ? as_caller_with_groups(context.caller, open_as_asked)
                                         : as_caller(context.caller, open_as_asked);
  }();
  if (!file) return file.error();

  const auto finish = [&]() -> Result<CreateReply> {
    const struct statx st = TRY(sys::stat_at(file->fd.borrow()));
    // Something else was there: let the kernel look again and open it for what it is.
    if (!S_ISREG(st.stx_mode)) return Err(ESTALE);
    InodeRef inode;
    UniqueFd path = TRY(with_descriptors(
        context.state, [&] { return context.state.source.child(parent.fd(), name); }));
    auto entry = look_up(context.state, std::move(path), &inode);
    if (entry && (inode->key.ino != st.stx_ino ||
                  inode->key.device != device_number(st.stx_dev_major, st.stx_dev_minor))) {
      // Replaced behind the mount between the two calls.
      (void)context.state.inodes->forget(entry->nodeid, 1);
      entry = Err(ESTALE);
    }
    if (!entry) return entry.error();
    if (born) {
      change.made(inode);
    } else if ((request.flags & O_TRUNC) != 0) {
      // The kernel did not know that there was a file. What it was like nobody has looked at.
      const AnnouncedInode emptied(context, inode, BorrowedFd(-1), mark::kData);
    }
    auto opened = [&]() -> Result<wire::OpenOut> {
      BackingUse use(context.state, inode);
      return add_handle(context, inode, std::move(*file), request.flags, use);
    }();
    if (!opened) {
      (void)context.state.inodes->forget(entry->nodeid, 1);
      return opened.error();
    }
    entry->attr_valid = std::min(entry->attr_valid, attribute_validity(context.state, inode));
    return CreateReply{*entry, *opened};
  };
  auto reply = finish();
  if (!reply && born) change.made_unseen(parent);
  if (!reply && (request.flags & O_EXCL) != 0 && reply.error() != ESTALE) {
    // The file is certainly ours: a create that fails leaves nothing behind.
    AnnouncedNames undone(context);
    undone.removes(parent, request.name);
    if (::unlinkat(parent.fd().get(), name, 0) == 0) undone.happened();
  }
  return reply;
}

Result<CreateReply> tmpfile(OpContext& context, const wire::CreateRequest& request) {
  const InodeRef parent = TRY(context.node());
  TRY(context.take_groups());
  set_thread_umask(request.umask);
  const int extra = O_TMPFILE | (static_cast<int>(request.flags) & O_EXCL);
  auto file = as_caller(context.caller, [&]() -> Result<SourceFile> {
    return open_without_append(request.flags, [&](int flags) {
      return with_descriptors(context.state, [&] {
        return own(::openat(parent.fd().get(), ".", flags | extra, request.mode & 07777));
      });
    });
  });
  if (!file) return file.error();
  UniqueFd path = TRY(with_descriptors(
      context.state, [&] { return context.state.source.reopen(file->fd.borrow(), O_PATH); }));
  InodeRef inode;
  if (context.state.config.handles == HandleMode::stateless) {
    // There is no ENOSYS here that would make the kernel do it in two steps, as for CREATE. The
    // node keeps the nameless file alive; no RELEASE with this fh is looked at.
    const wire::EntryOut entry = TRY(look_up(context.state, std::move(path), &inode));
    tell_nameless(context, inode);
    return CreateReply{entry, wire::OpenOut{}};
  }
  wire::EntryOut entry = TRY(look_up(context.state, std::move(path), &inode));
  tell_nameless(context, inode);
  BackingUse use(context.state, inode);
  auto opened = add_handle(context, inode, std::move(*file), request.flags, use);
  if (!opened) {
    (void)context.state.inodes->forget(entry.nodeid, 1);
    return opened.error();
  }
  entry.attr_valid = std::min(entry.attr_valid, attribute_validity(context.state, inode));
  return CreateReply{entry, *opened};
}

// What close(2) would report, by closing a duplicate; and a process that closes any descriptor of a
// file loses its POSIX locks on it.
Result<void> flush(OpContext& context, const wire::FlushRequest& request) {
  if (context.state.config.handles == HandleMode::stateless) return Err(ENOSYS);
  const HandleRef handle = TRY(context.state.handles->get(request.fh, context.node_id()));
  context.state.locks.drop_owner(context.node_id(), request.lock_owner);
  // A passthrough handle that nothing has needed a descriptor for has nothing to report either.
  if (!handle.fd().valid()) return still_there(handle);
  if (context.state.closes_silently(*TRY(context.node()))) return ok();
  UniqueFd copy = TRY(with_descriptors(context.state, [&] { return duplicate(handle.fd()); }));
  return copy.close_checked();
}

Result<void> release(OpContext& context, const wire::ReleaseRequest& request) {
  if (context.state.config.handles == HandleMode::stateless) return ok();
  if (was_released(context, request.fh)) return ok();
  TRY(close_handle(context.state, context.node_id(), request.fh));
  // Locks of the open file description go with it; then others may have theirs.
  context.state.locks.drop_handle(context.node_id(), request.fh);
  return ok();
}

Result<void> fsync(OpContext& context, const wire::FsyncRequest& request) {
  const OpenFile file = TRY(OpenFile::of(context, request.fh, O_RDONLY));
  std::optional<OpContext::Blocking> blocking;
  if (!context.state.memory_source) blocking.emplace(TRY(context.may_wait()));
  return check_void(request.datasync ? ::fdatasync(file.fd().get()) : ::fsync(file.fd().get()));
}

}  // namespace passthroughfs::ops
