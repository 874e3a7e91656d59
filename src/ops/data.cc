// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "ops/announce.h"
#include "ops/attributes.h"
#include "ops/direct_append.h"
#include "ops/file_times.h"
#include "ops/handlers.h"
#include "ops/open_file.h"

namespace passthroughfs::ops {
namespace {

// The descriptor for a request with these flags: O_DIRECT is taken from each request, so the
// description that has it is made when first needed and kept with the handle.
BorrowedFd data_fd(OpContext& context, const OpenFile& file, std::uint32_t flags) noexcept {
  if ((flags & O_DIRECT) == 0 || !file.handle()) return file.fd();
  Handle& handle = *file.handle();
  int direct = handle.direct_fd.load(std::memory_order_acquire);
  if (direct >= 0) return BorrowedFd(direct);
  auto made = reopen_direct(context.state, file.fd());
  if (!made) return file.fd();  // the source has none; through its page cache the data is the same
  if (handle.direct_fd.compare_exchange_strong(direct, made->get(), std::memory_order_acq_rel)) {
    return BorrowedFd(made->release());
  }
  return BorrowedFd(direct);
}

// Whether requests go around the page cache can change with each of them; `handles` shows the last.
void note_way(const OpenFile& file, BorrowedFd used) noexcept {
  if (!file.handle()) return;
  const std::uint8_t direct = used.get() != file.fd().get() ? 1 : 0;
  std::atomic<std::uint8_t>& noted = file.handle()->direct;
  if (noted.load(std::memory_order_relaxed) != direct) {
    noted.store(direct, std::memory_order_relaxed);
  }
}

// A write at a position through descriptors that append by themselves, because the file was
// append-only when it was opened. EPERM: it still is.
Result<void> stop_appending(Handle& handle) noexcept {
  for (const int fd : {handle.fd.load(std::memory_order_acquire),
                       handle.direct_fd.load(std::memory_order_acquire)}) {
    if (fd < 0) continue;
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags & ~O_APPEND) != 0) return Errno::last();
  }
  handle.append_fd.store(0, std::memory_order_relaxed);
  return ok();
}

Result<std::size_t> read_some(BorrowedFd fd, MutableByteSpan into, std::uint64_t offset,
                              int flags) noexcept {
  const iovec part{into.data(), into.size()};
  const ssize_t got = ::preadv2(fd.get(), &part, 1, static_cast<off_t>(offset), flags);
  if (got < 0) return Errno::last();
  return static_cast<std::size_t>(got);
}

// Reads all there is up to the size asked for: a short answer means end of file to the kernel.
Result<std::size_t> read_fully(BorrowedFd fd, MutableByteSpan into, std::uint64_t offset,
                               std::size_t done) noexcept {
  while (done < into.size()) {
    auto got = read_some(fd, into.subspan(done), offset + done, 0);
    if (!got && got.error() == EINTR) continue;
    if (!got) return done > 0 ? Result<std::size_t>(done) : got.error();
    if (*got == 0) break;
    done += *got;
  }
  return done;
}

// Smaller reads cost less through the buffer than through a pipe.
constexpr std::size_t kSplicedFrom = std::size_t{64} * 1024;

// Whether the source has all of this in memory. False where the kernel does not tell (Linux 6.5).
bool is_in_memory(BorrowedFd fd, std::uint64_t offset, std::size_t size) noexcept {
  constexpr long kCachestat = 451;  // on every architecture
  static const auto kPage = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  struct {
    std::uint64_t offset, size;
  } const range{offset, size};
  struct {
    std::uint64_t cached, dirty, writeback, evicted, recently_evicted;
  } counts{};
  if (::syscall(kCachestat, fd.get(), &range, &counts, 0U) != 0) return false;
  return counts.cached >= (offset + size + kPage - 1) / kPage - offset / kPage;
}

// Answers a large read with the pages of the source. 0: not answered; read and answer as usual.
Result<std::size_t> answer_with_pages(OpContext& context, BorrowedFd fd, std::uint64_t offset,
                                      std::size_t size, wire::Reply& reply) noexcept {
  auto st = sys::stat_at(fd, "", STATX_SIZE);
  if (!st || st->stx_size <= offset) return std::size_t{0};
  size = static_cast<std::size_t>(std::min<std::uint64_t>(size, st->stx_size - offset));
  if (size < kSplicedFrom) return std::size_t{0};
  std::optional<OpContext::Blocking> blocking;
  if (!context.state.memory_source && !is_in_memory(fd, offset, size)) {
    blocking.emplace(TRY(context.may_wait()));
  }
  (void)reply.file(fd, offset, size);  // if not sent, either nobody waits or nothing is lost
  return reply.pending() ? 0 : size;
}

Result<std::uint64_t> copy(OpContext& context, const wire::CopyFileRangeRequest& request,
                           std::uint64_t most) {
  const OpenFile in = TRY(OpenFile::of(context, request.fh_in, O_RDONLY));
  const OpenFile out = TRY(OpenFile::of(context, request.nodeid_out, request.fh_out, O_WRONLY));
  auto from = static_cast<off_t>(request.off_in);
  auto to = static_cast<off_t>(request.off_out);
  const std::size_t length = std::min(request.len, most);
  const auto blocking = TRY(context.may_wait());
  const InodeRef inode = TRY(context.state.inodes->pin(request.nodeid_out));
  const AnnouncedInode change(context, inode, out.fd(), mark::kData);
  return as_modifier(context.caller, out.fd(), false, [&]() -> Result<std::uint64_t> {
    const ssize_t copied = ::copy_file_range(in.fd().get(), &from, out.fd().get(), &to, length,
                                             static_cast<unsigned>(request.flags));
    if (copied < 0) return Errno::last();
    return static_cast<std::uint64_t>(copied);
  });
}

}  // namespace

Result<ByteSpan> read(OpContext& context, const wire::ReadRequest& request, wire::Reply& reply) {
  const OpenFile file =
      TRY(OpenFile::of(context, request.fh, O_RDONLY | static_cast<int>(request.flags & O_DIRECT)));
  const BorrowedFd fd = data_fd(context, file, request.flags);
  note_way(file, fd);
  const MutableByteSpan into =
      context.buffer.first(std::min<std::size_t>(request.size, context.buffer.size()));
  const bool direct = (request.flags & O_DIRECT) != 0;
  const auto count = [&file](std::size_t bytes) noexcept {
    const HandleRef& handle = file.handle();
    if (!handle) return;
    handle->reads.fetch_add(1, std::memory_order_relaxed);
    handle->bytes_read.fetch_add(bytes, std::memory_order_relaxed);
  };
  if (!direct && into.size() >= kSplicedFrom && reply.sends_files()) {
    const std::size_t sent =
        TRY(answer_with_pages(context, fd, request.offset, into.size(), reply));
    if (sent != 0) {
      count(sent);
      return ByteSpan();
    }
  }

  // What the source has in memory is read here and now. Only what it would wait for makes this
  // thread announce that it blocks.
  std::size_t done = 0;
  bool at_end = false;
  // One file's answer says nothing about others: what is mounted inside the source may differ.
  bool ask = !direct && !context.state.memory_source &&
             !(file.handle() && file.handle()->no_nowait.load(std::memory_order_relaxed) != 0);
  while (ask && done < into.size() && !at_end) {
    auto got = read_some(fd, into.subspan(done), request.offset + done, RWF_NOWAIT);
    if (got) {
      done += *got;
      at_end = *got == 0;
    } else if (got.error() == EOPNOTSUPP) {
      if (file.handle()) file.handle()->no_nowait.store(1, std::memory_order_relaxed);
      ask = false;
    } else if (got.error() == EAGAIN || got.error() == EINTR) {
      break;
    } else if (done == 0) {
      return got.error();
    } else {
      at_end = true;  // the next request will hear it
    }
  }
  if (done < into.size() && !at_end) {
    std::optional<OpContext::Blocking> blocking;
    if (!context.state.memory_source) blocking.emplace(TRY(context.may_wait()));
    done = TRY(direct ? read_some(fd, into, request.offset, 0)
                      : read_fully(fd, into, request.offset, done));
  }
  count(done);
  return ByteSpan(into.first(done));
}

namespace {

// How much of an append a process had written before it died: what the file has had since then at
// the end that the kernel knew. (If somebody appends behind the mount as well, that end is not
// where the data went, and it is appended again.)
std::size_t appended_before(OpContext& context, const OpenFile& file,
                            const wire::WriteRequest& request) {
  const auto st = sys::stat_at(file.fd(), "", STATX_SIZE);
  if (!st || st->stx_size <= request.offset) return 0;
  const auto reading = context.state.source.reopen(file.fd(), O_RDONLY);
  if (!reading) return 0;
  const std::size_t most =
      std::min<std::uint64_t>(st->stx_size - request.offset, request.data.size());
  std::vector<std::byte> there(most);
  const auto got = read_fully(reading->borrow(), there, request.offset, 0);
  if (!got || *got != most || std::memcmp(there.data(), request.data.data(), most) != 0) return 0;
  return most;
}

Result<wire::WriteOut> write_data(OpContext& context, const wire::WriteRequest& request) {
  const bool writeback = (request.write_flags & wire::kWriteCache) != 0;
  // Page writeback carries flags of whichever file the kernel had at hand: it is positional and
  // buffered, always.
  const std::uint32_t flags = writeback ? 0 : request.flags;
  const OpenFile file = TRY(OpenFile::of(
      context, request.fh, O_WRONLY | static_cast<int>(flags & (O_DIRECT | O_APPEND))));
  const BorrowedFd fd = data_fd(context, file, flags);
  if (!writeback) note_way(file, fd);
  const bool append_fd =
      file.handle() && file.handle()->append_fd.load(std::memory_order_relaxed) != 0;
  // With the writeback cache the kernel alone knows where the file ends.
  const bool append = (flags & O_APPEND) != 0 && (append_fd || !context.state.config.writeback);
  if (!append && append_fd) TRY(stop_appending(*file.handle()));
  int how = 0;
  if (append) how |= RWF_APPEND;
  if ((flags & O_SYNC) == O_SYNC) {
    how |= RWF_SYNC;
  } else if ((flags & O_DSYNC) != 0) {
    how |= RWF_DSYNC;
  }

  const InodeRef inode = TRY(context.state.inodes->pin(context.node_id()));
  std::optional<DirectAppend> turn;
  if (append && (flags & O_DIRECT) != 0) {
    TRY(wait_for_turn(context, inode, file.fd(), request.offset));
    turn.emplace(inode);
  }
  std::optional<KeptModificationTime> kept;
  if (writeback && context.state.config.writeback) {
    kept.emplace(context.state.file_times, context.node_id(), file.fd());
  }
  std::optional<OpContext::Blocking> blocking;
  if ((flags & (O_SYNC | O_DSYNC | O_DIRECT)) != 0 && !context.state.memory_source) {
    blocking.emplace(TRY(context.may_wait()));
  }

  const bool kill = (request.write_flags & wire::kWriteKillSuidgid) != 0;
  const AnnouncedInode change(context, inode, file.fd(), mark::kData);
  std::size_t done = 0;
  if (append && context.repeat.again) done = appended_before(context, file, request);
  const auto write_all = [&]() -> Result<void> {
    while (done < request.data.size()) {
      const iovec part{const_cast<std::byte*>(request.data.data()) + done,
                       request.data.size() - done};
      const ssize_t put =
          ::pwritev2(fd.get(), &part, 1, static_cast<off_t>(request.offset + done), how);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return done > 0 ? ok() : Errno::last();
      done += static_cast<std::size_t>(put);
      if (put == 0) break;
    }
    return ok();
  };
  TRY(writeback ? write_all() : as_modifier(context.caller, file.fd(), kill, write_all));

  if (append && context.state.invalidations != nullptr) {
    // The kernel filled its pages at the end that it knew. If the source had grown behind the mount
    // the data went elsewhere, and those pages are wrong.
    auto st = sys::stat_at(file.fd(), "", STATX_SIZE);
    if (!st || st->stx_size != request.offset + done) {
      context.state.invalidations->drop_pages(context.node_id());
    }
  }
  if (const HandleRef& handle = file.handle()) {
    handle->writes.fetch_add(1, std::memory_order_relaxed);
    handle->bytes_written.fetch_add(done, std::memory_order_relaxed);
  }
  wire::WriteOut out{};
  out.size = static_cast<std::uint32_t>(done);
  return out;
}

}  // namespace

Result<wire::WriteOut> write(OpContext& context, const wire::WriteRequest& request) {
  auto written = write_data(context, request);
  const bool through_pages =
      (request.flags & O_DIRECT) == 0 && (request.write_flags & wire::kWriteCache) == 0;
  if (through_pages && context.state.invalidations != nullptr && !context.moving() &&
      (!written || written->size < request.data.size())) {
    // The kernel has put the data into its pages before it asked. It will not read it from there,
    // but who has them mapped sees it until they are gone. They are locked until this is answered.
    context.state.invalidations->drop_pages(context.node_id());
  }
  return written;
}

// Only SEEK_DATA and SEEK_HOLE come here. The shared position that they move is used by nobody.
Result<wire::LseekOut> lseek(OpContext& context, const wire::LseekRequest& request) {
  // The kernel asks without sending what it has gathered. Not asked, it takes all for data.
  if (context.state.config.writeback) return Err(ENOSYS);
  const OpenFile file = TRY(OpenFile::of(context, request.fh, O_RDONLY));
  const off_t at = ::lseek(file.fd().get(), static_cast<off_t>(request.offset),
                           static_cast<int>(request.whence));
  if (at < 0) return Errno::last();
  return wire::LseekOut{static_cast<std::uint64_t>(at)};
}

Result<void> fallocate(OpContext& context, const wire::FallocateRequest& request) {
  const OpenFile file = TRY(OpenFile::of(context, request.fh, O_WRONLY));
  constexpr std::uint64_t kQuick = 1U << 20;  // bytes of memory
  std::optional<OpContext::Blocking> blocking;
  if (!context.state.memory_source || request.length > kQuick) {
    blocking.emplace(TRY(context.may_wait()));
  }
  const InodeRef inode = TRY(context.state.inodes->pin(context.node_id()));
  const AnnouncedInode change(context, inode, file.fd(), mark::kData);
  auto done = as_modifier(context.caller, file.fd(), false, [&] {
    return check_void(::fallocate(file.fd().get(), static_cast<int>(request.mode),
                                  static_cast<off_t>(request.offset),
                                  static_cast<off_t>(request.length)));
  });
  // ENOSYS would end fallocate for the whole mount.
  if (!done && done.error() == ENOSYS) return Err(EOPNOTSUPP);
  return done;
}

// The reply has 32 bits.
Result<wire::WriteOut> copy_file_range(OpContext& context,
                                       const wire::CopyFileRangeRequest& request) {
  const std::uint64_t copied = TRY(copy(context, request, 0x7ffff000));
  wire::WriteOut out{};
  out.size = static_cast<std::uint32_t>(copied);
  return out;
}

Result<wire::CopyFileRangeOut> copy_file_range_64(OpContext& context,
                                                  const wire::CopyFileRangeRequest& request) {
  return wire::CopyFileRangeOut{TRY(copy(context, request, SSIZE_MAX))};
}

}  // namespace passthroughfs::ops
