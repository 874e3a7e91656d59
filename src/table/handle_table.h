// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/fd.h"
#include "base/mutex.h"
#include "base/regions.h"
#include "table/inode_table.h"
#include "table/slot_table.h"

namespace passthroughfs {

enum class HandleKind : std::uint8_t { file, directory };
enum class HandleIo : std::uint8_t { daemon, passthrough };
// What an open file has lost with the descriptors of all processes, see HandleTable::forget...().
// It has no descriptor then.
enum class Missing : std::uint8_t {
  nothing,
  descriptor,  // and is to be opened again
  file,        // for good: it could not be
  lock,        // for good: that it held, so that its user must not go on as if it did
};
// flocks as Handle::flocked has them.
enum class Flocked : std::uint8_t {
  no,
  shared,
  exclusive,
  changing,  // by a request that is not answered yet
};

// One open file or directory. Lives in the shared region, so it holds no pointers. Fields without
// atomics are constant from publication to the end.
struct alignas(64) Handle : SlotHead {
  std::atomic<std::int32_t> fd;  // owned; -1: not needed yet (see OpenFile)
  std::atomic<std::int32_t>
      direct_fd;  // owned; the same file with O_DIRECT, made when first needed
  NodeId node;
  std::uint32_t inode_slot;  // held in the InodeTable
  std::uint32_t flags;       // O_* of the open
  std::uint32_t pid;         // thread that opened
  HandleKind kind;
  HandleIo io;
  // fd itself has O_APPEND: an append-only file can be opened no other way
  std::atomic<std::uint8_t> append_fd;
  // its file system cannot tell reads that would wait from others (no RWF_NOWAIT)
  std::atomic<std::uint8_t> no_nowait;
  std::int64_t opened_sec;  // CLOCK_REALTIME
  std::uint32_t opened_nsec;
  std::int64_t opened_boot_ns;   // the same in CLOCK_BOOTTIME, which nobody sets
  std::atomic<Flocked> flocked;  // through it
  // its data goes through direct_fd: as the last request said, before the first as the open said
  std::atomic<std::uint8_t> direct;
  std::atomic<Missing> missing;
  std::atomic<std::uint64_t> reads, writes, bytes_read, bytes_written;
};
static_assert(sizeof(Handle) == 128);

// The reading position of a directory: entries read from the source and not yet sent. Private to
// the process; can be rebuilt, because requests carry the source's own cookies.
struct DirStream {
  Mutex mutex;
  std::unique_ptr<std::byte[]> buffer PFS_GUARDED_BY(mutex);
  std::size_t used PFS_GUARDED_BY(mutex) = 0;           // bytes of entries in buffer
  std::size_t consumed PFS_GUARDED_BY(mutex) = 0;       // of these, sent
  std::uint64_t next_offset PFS_GUARDED_BY(mutex) = 0;  // cookie that continues at `consumed`
  static constexpr std::size_t kBufferSize = 32768;
};

class HandleTable;

// A pinned handle: its descriptor stays open until this goes, whatever RELEASE says. Move-only.
class HandleRef {
 public:
  HandleRef() noexcept = default;
  HandleRef(HandleRef&& other) noexcept
      : table_(other.table_), handle_(std::exchange(other.handle_, nullptr)) {}
  HandleRef& operator=(HandleRef&& other) noexcept;
  HandleRef(const HandleRef&) = delete;
  HandleRef& operator=(const HandleRef&) = delete;
  ~HandleRef() { reset(); }

  [[nodiscard]] explicit operator bool() const noexcept { return handle_ != nullptr; }
  // Invalid for a passthrough handle until something needs its descriptor: ask OpenFile for that.
  [[nodiscard]] BorrowedFd fd() const noexcept {
    return BorrowedFd(handle_->fd.load(std::memory_order_acquire));
  }
  [[nodiscard]] Handle* operator->() const noexcept { return handle_; }
  [[nodiscard]] Handle& operator*() const noexcept { return *handle_; }
  // Precondition: a directory.
  [[nodiscard]] DirStream& stream() const noexcept;
  void reset() noexcept;

 private:
  friend class HandleTable;
  HandleRef(HandleTable* table, Handle* handle) noexcept : table_(table), handle_(handle) {}

  HandleTable* table_ = nullptr;
  Handle* handle_ = nullptr;
};

// Every open file and directory, by a number that is never handed out twice and belongs to one
// node. Lookup is lock-free. A handle ends when RELEASE has come and the last request that works
// with it has let go; then its descriptors are closed and its inode's hold is dropped. Thread-safe.
// Must go before the InodeTable, and after every HandleRef.
class HandleTable {
 public:
  // Room for `capacity` handles (address space only). Errors: those of Regions::make. EUCLEAN: a
  // program before this one has left something else.
  static Result<std::unique_ptr<HandleTable>> create(InodeTable& inodes, std::uint32_t capacity,
                                                     Regions& regions);
  static Result<std::unique_ptr<HandleTable>> create(InodeTable& inodes, std::uint32_t capacity) {
    Regions regions;
    return create(inodes, capacity, regions);
  }
  ~HandleTable();

  // What a new handle is made of.
  struct Opened {
    UniqueFd fd;
    UniqueFd direct_fd;
    std::uint32_t flags = 0;
    std::uint32_t pid = 0;
    HandleKind kind = HandleKind::file;
    HandleIo io = HandleIo::daemon;
    bool append_fd = false;
  };
  // Takes over the descriptors and holds the inode. Gives fh. ENFILE: the table is full. ENOMEM.
  [[nodiscard]] Result<std::uint64_t> add(const InodeRef& inode, Opened opened) noexcept;

  // The handle `fh` of `node`. EBADF for a number that is unknown, released or another node's; that
  // is a broken peer or a bug, so it is logged.
  [[nodiscard]] Result<HandleRef> get(std::uint64_t fh, NodeId node) noexcept;

  // RELEASE. EBADF as above, also for a second release.
  Result<void> release(std::uint64_t fh, NodeId node) noexcept;

  // The node of an open handle, without a line in the log if there is none: 0.
  [[nodiscard]] NodeId node_of(std::uint64_t fh) noexcept;

  // See InodeTable::begin_recovery(). Handles that were released are gone afterwards, all others
  // are as they were, with nobody using them; counts of opens in their inodes are made anew. One
  // whose record is damaged, so that its descriptor is another file's, is gone (EBADF).
  // EUCLEAN: the memory is not what this table left in it. std::bad_alloc.
  Result<void> recover();
  // EUCLEAN, see recover(): nothing was changed.
  [[nodiscard]] Result<void> check() const noexcept { return slots_.check(); }
  // See InodeTable::forget_descriptors().
  void forget_descriptors() noexcept;
  template <typename Visit>
  void for_each_descriptor(Visit&& visit) const {
    for (std::uint32_t slot = 1; slot < slots_.high_water(); ++slot) {
      const Handle& handle = slots_.at(slot);
      if (!slots_.is_live(handle)) continue;
      for (const auto* fd : {&handle.fd, &handle.direct_fd}) {
        if (fd->load(std::memory_order_relaxed) >= 0) visit(fd->load(std::memory_order_relaxed));
      }
    }
  }

  using Visitor = std::function<void(std::uint64_t, const HandleRef&)>;
  // Calls `visit(fh, handle)` for each open handle, pinned meanwhile. `visit` may throw.
  void for_each(const Visitor& visit);
  // The same in parts: begins at `position` (0 for the first part), ends after `most` handles, and
  // gives the position of the next part, 0 when there is none. What is open throughout is visited
  // once.
  std::uint64_t for_some(std::uint64_t position, std::size_t most, const Visitor& visit);

  // The node of some open regular file; 0: there is none.
  [[nodiscard]] NodeId any_file() noexcept;

  // Whether the node has an open that may write. Looks at every handle.
  [[nodiscard]] bool has_writer(NodeId node) noexcept;

  [[nodiscard]] std::uint64_t open_count() const noexcept {
    return open_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::size_t memory_bytes() const noexcept { return slots_.touched_bytes(); }

 private:
  friend class HandleRef;
  HandleTable(InodeTable& inodes, Region region, Region streams);
  static bool is_whole(const Handle& handle, const Inode& inode) noexcept;
  // The first open handle that `wanted(handle)` says yes to, if any.
  template <typename Wanted>
  HandleRef find_if(Wanted&& wanted) noexcept;
  void unpin(Handle& handle) noexcept;
  void destroy(Handle& handle) noexcept;

  InodeTable& inodes_;
  bool owned_ = true;  // as in InodeTable
  SlotTable<Handle> slots_;
  // By slot, in sparse memory, so that files cost nothing. Set at add(), deleted at the end.
  Region stream_region_;
  [[nodiscard]] DirStream*& stream_of(const Handle& handle) const noexcept;
  std::atomic<std::uint64_t> open_{0};
};

}  // namespace passthroughfs
