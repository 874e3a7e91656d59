// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "ops/attributes.h"
#include "ops/handlers.h"
#include "ops/open_file.h"
#include "wire/dirent.h"

namespace passthroughfs::ops {
namespace {

bool is_dot_or_dotdot(const char* name) noexcept {
  return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

// One listing in progress: the source's entries from the handle's buffer, refilled as needed. The
// stateless design has no handle; then the stream lives for this request.
class Listing {
 public:
  explicit Listing(BorrowedFd fd) : fd_(fd) {}

  // Goes to a cookie that an earlier entry carried, or 0 for the start. A buffer that already
  // stands there is used; offset 0 always reads anew, because rewinddir must show what is new.
  Result<void> seek(DirStream& stream, std::uint64_t offset) PFS_REQUIRES(stream.mutex) {
    const bool continues = offset != 0 && stream.buffer && stream.next_offset == offset;
    if (continues) return ok();
    stream.used = stream.consumed = 0;
    stream.next_offset = offset;
    return check_void(::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_SET));
  }

  // The next entry without taking it; nullptr at the end.
  Result<const sys::RawDirent*> peek(DirStream& stream) PFS_REQUIRES(stream.mutex) {
    if (stream.consumed == stream.used) {
      if (!stream.buffer) stream.buffer = std::make_unique<std::byte[]>(DirStream::kBufferSize);
      stream.consumed = 0;
      stream.used = 0;
      stream.used = TRY(
          sys::read_directory(fd_, MutableByteSpan(stream.buffer.get(), DirStream::kBufferSize)));
      if (stream.used == 0) return static_cast<const sys::RawDirent*>(nullptr);
    }
    return reinterpret_cast<const sys::RawDirent*>(stream.buffer.get() + stream.consumed);
  }

  void take(DirStream& stream, const sys::RawDirent& entry) PFS_REQUIRES(stream.mutex) {
    stream.consumed += entry.reclen;
    stream.next_offset = entry.off;
  }

 private:
  const BorrowedFd fd_;
};

struct Directory {
  InodeRef inode;
  OpenFile file;
  std::unique_ptr<DirStream> own;  // stateless only

  [[nodiscard]] DirStream& stream() const { return own ? *own : file.handle().stream(); }
};

Result<Directory> directory_of(OpContext& context, std::uint64_t fh) {
  InodeRef inode = TRY(context.node());
  if (inode->type != S_IFDIR) return Err(ENOTDIR);
  OpenFile file = TRY(OpenFile::of(context, fh, O_RDONLY | O_DIRECTORY));
  Directory out{std::move(inode), std::move(file), nullptr};
  if (!out.file.handle()) {
    out.own = std::make_unique<DirStream>();
  } else if (out.file.handle()->kind != HandleKind::directory) {
    return Err(ENOTDIR);
  }
  return out;
}

// Fills the answer by `add(entry, shown inode number)`, which says false when there is no room
// left. An error after the first entry ends the answer, keeping what is there.
template <typename Add>
Result<void> list(OpContext& context, Directory& directory, std::uint64_t offset, Add&& add) {
  DirStream& stream = directory.stream();
  MutexLock lock(stream.mutex);
  Listing listing(directory.file.fd());
  TRY(listing.seek(stream, offset));
  const Inode& inode = *directory.inode;
  const bool root = directory.inode.id() == InodeTable::kRoot;
  for (bool first = true;; first = false) {
    auto entry = listing.peek(stream);
    if (!entry && first) return entry.error();
    if (!entry || *entry == nullptr) return ok();
    const sys::RawDirent& raw = **entry;
    std::uint64_t ino = context.state.source.devices().shown_ino(inode.key.device, raw.ino);
    // What is above the source stays unknown: the root is its own parent.
    if (root && std::strcmp(raw.name, "..") == 0) {
      ino = context.state.source.devices().shown_ino(inode.key.device, inode.key.ino);
    }
    if (!add(raw, ino)) return ok();
    listing.take(stream, raw);
  }
}

MutableByteSpan room(OpContext& context, const wire::ReadRequest& request) {
  return context.buffer.first(std::min<std::size_t>(request.size, context.buffer.size()));
}

}  // namespace

Result<OpenReply> opendir(OpContext& context, const wire::OpenRequest& request) {
  if (context.state.config.handles == HandleMode::stateless) return Err(ENOSYS);
  const InodeRef inode = TRY(context.node());
  if (inode->type != S_IFDIR) return Err(ENOTDIR);
  const int flags = O_RDONLY | O_DIRECTORY | (static_cast<int>(request.flags) & O_NOATIME);
  HandleTable::Opened opened;
  const auto reopen = [&] {
    return with_kept_descriptor(context.state,
                                [&] { return context.state.source.reopen(inode.fd(), flags); });
  };
  // Without O_LARGEFILE it is the kernel's own, for an ioctl on a directory that is open already.
  const bool for_ioctl = (request.flags & wire::kLargeFile) == 0;
  opened.fd = TRY(for_ioctl ? reopen() : as_caller(context.caller, reopen));
  leave_access_times(context.state, opened.fd.borrow());
  opened.flags = request.flags;
  opened.pid = context.request.header.pid;
  opened.kind = HandleKind::directory;
  wire::OpenOut out{};
  out.fh = TRY(context.state.handles->add(inode, std::move(opened)));
  return OpenReply{out};
}

Result<ByteSpan> readdir(OpContext& context, const wire::ReadRequest& request) {
  Directory directory = TRY(directory_of(context, request.fh));
  wire::DirentWriter writer(room(context, request));
  TRY(list(context, directory, request.offset, [&](const sys::RawDirent& raw, std::uint64_t ino) {
    return writer.add(ino, raw.off, raw.type, raw.name);
  }));
  return writer.written();
}

Result<DirentPlusReply> readdirplus(OpContext& context, const wire::ReadRequest& request) {
  Directory directory = TRY(directory_of(context, request.fh));
  wire::DirentWriter writer(room(context, request));
  ListingHabits& habits = context.state.habits;
  const bool attributes = habits.wants_attributes(context.request.header.pid, directory.inode.id(),
                                                  request.offset == 0);
  std::uint32_t bare = 0;
  TRY(list(context, directory, request.offset, [&](const sys::RawDirent& raw, std::uint64_t ino) {
    // Room first: a lookup that does not fit would have to be taken back.
    if (!writer.fits(std::strlen(raw.name), true)) return false;
    wire::EntryOut entry{};  // nodeid 0: the name alone
    if (!is_dot_or_dotdot(raw.name)) {
      ++bare;
      if (!attributes) return writer.add_plus(entry, ino, raw.off, raw.type, raw.name);
      auto found = look_up(context.state, directory.inode, raw.name);
      // Gone meanwhile, or not to be had: its name is still part of the listing.
      if (found) {
        entry = *found;
        ino = found->attr.ino;
      }
    }
    return writer.add_plus(entry, ino, raw.off, raw.type, raw.name);
  }));
  if (!attributes) habits.listed_bare(directory.inode.id(), bare);
  return DirentPlusReply{writer.written()};
}

Result<void> releasedir(OpContext& context, const wire::ReleaseRequest& request) {
  if (context.state.config.handles == HandleMode::stateless) return ok();
  if (was_released(context, request.fh)) return ok();
  TRY(close_handle(context.state, context.node_id(), request.fh));
  context.state.locks.drop_handle(context.node_id(), request.fh);
  return ok();
}

Result<void> fsyncdir(OpContext& context, const wire::FsyncRequest& request) {
  const OpenFile file = TRY(OpenFile::of(context, request.fh, O_RDONLY | O_DIRECTORY));
  std::optional<OpContext::Blocking> blocking;
  if (!context.state.memory_source) blocking.emplace(TRY(context.may_wait()));
  return check_void(request.datasync ? ::fdatasync(file.fd().get()) : ::fsync(file.fd().get()));
}

}  // namespace passthroughfs::ops
