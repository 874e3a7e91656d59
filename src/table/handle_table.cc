// SPDX-License-Identifier: Apache-2.0
#include "table/handle_table.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>
#include <exception>
#include <new>

#include "base/fault.h"
#include "base/log.h"
#include "table/ledger.h"

namespace passthroughfs {
namespace {

LogRateLimit g_bad_handle_log(5);

Errno bad_handle(std::uint64_t fh, NodeId node, const char* why) noexcept {
  try {
    if (g_bad_handle_log.allow()) {
      log_warning("handle {:#x} of node {:#x}: {}; answered EBADF", fh, node, why);
    }
  } catch (const std::exception&) {
    // No memory for the line: the answer matters more.
  }
  return Err(EBADF);
}

}  // namespace

HandleRef& HandleRef::operator=(HandleRef&& other) noexcept {
  if (this != &other) {
    reset();
    table_ = other.table_;
    handle_ = std::exchange(other.handle_, nullptr);
  }
  return *this;
}

DirStream& HandleRef::stream() const noexcept { return *table_->stream_of(*handle_); }

void HandleRef::reset() noexcept {
  if (handle_ != nullptr) table_->unpin(*std::exchange(handle_, nullptr));
}

Result<std::unique_ptr<HandleTable>> HandleTable::create(InodeTable& inodes, std::uint32_t capacity,
                                                         Regions& regions) {
  Region region =
      TRY(regions.make("passthroughfs-handles", SlotTable<Handle>::bytes_for(capacity)));
  // NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are what it holds
  const std::size_t streams_size = std::size_t{capacity} * sizeof(DirStream*);
  Region streams = TRY(Region::create("passthroughfs-streams", streams_size));
  std::unique_ptr<HandleTable> table(
      new HandleTable(inodes, std::move(region), std::move(streams)));
  table->owned_ = !regions.continued();
  TRY(table->slots_.check());
  return table;
}

// Slot 0 stays unused: fh 0 is what the kernel sends when there is no handle.
HandleTable::HandleTable(InodeTable& inodes, Region region, Region streams)
    : inodes_(inodes), slots_(std::move(region), 1), stream_region_(std::move(streams)) {}

HandleTable::~HandleTable() {
  if (!owned_) return;
  const std::uint32_t end = slots_.high_water();
  for (std::uint32_t slot = 1; slot < end; ++slot) {
    Handle& handle = slots_.at(slot);
    if (!slots_.is_live(handle)) continue;
    const auto generation = SlotNumber::generation(slots_.number_of(handle, slot));
    if (slots_.retire(handle, generation).value_or(false)) destroy(handle);
  }
}

DirStream*& HandleTable::stream_of(const Handle& handle) const noexcept {
  return reinterpret_cast<DirStream**>(stream_region_.data())[slots_.slot_of(handle)];
}

Result<std::uint64_t> HandleTable::add(const InodeRef& inode, Opened opened) noexcept {
  std::unique_ptr<DirStream> stream;
  if (opened.kind == HandleKind::directory) {
    stream.reset(new (std::nothrow) DirStream);
    if (stream == nullptr) return Err(ENOMEM);
  }
  const std::uint64_t fh = TRY(slots_.allocate());
  Handle& handle = slots_.at(SlotNumber::slot(fh));
  timespec now{};
  (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
  timespec since_boot{};
  (void)clock_gettime(CLOCK_BOOTTIME, &since_boot);  // no system call either
  inodes_.hold(inode);
  handle.direct.store(opened.direct_fd.valid() ? 1 : 0, std::memory_order_relaxed);
  handle.fd.store(opened.fd.release(), std::memory_order_relaxed);
  handle.direct_fd.store(opened.direct_fd.release(), std::memory_order_relaxed);
  handle.node = inode.id();
  handle.inode_slot = inodes_.slot_of(inode);
  handle.flags = opened.flags;
  handle.pid = opened.pid;
  handle.kind = opened.kind;
  handle.io = opened.io;
  handle.append_fd.store(opened.append_fd ? 1 : 0, std::memory_order_relaxed);
  handle.no_nowait.store(0, std::memory_order_relaxed);
  handle.opened_sec = now.tv_sec;
  handle.opened_nsec = static_cast<std::uint32_t>(now.tv_nsec);
  handle.opened_boot_ns = since_boot.tv_sec * std::int64_t{1'000'000'000} + since_boot.tv_nsec;
  handle.flocked.store(Flocked::no, std::memory_order_relaxed);
  handle.missing.store(Missing::nothing, std::memory_order_relaxed);
  for (auto* counter : {&handle.reads, &handle.writes, &handle.bytes_read, &handle.bytes_written}) {
    counter->store(0, std::memory_order_relaxed);
  }
  stream_of(handle) = stream.release();
  open_.fetch_add(1, std::memory_order_relaxed);
  // Before it lives, so that a successor knows whose it is.
  if (Ledger* const ledger = ledger_in_hand().ledger) {
    ledger->handle.store(fh, std::memory_order_release);
  }
  slots_.publish(handle, 0);
  fault_point(Fault::open);
  return fh;
}

Result<HandleRef> HandleTable::get(std::uint64_t fh, NodeId node) noexcept {
  Handle* handle = slots_.pin(fh);
  if (handle == nullptr) return bad_handle(fh, node, "unknown or released");
  HandleRef ref(this, handle);
  if (handle->node != node) return bad_handle(fh, node, "belongs to another node");
  return ref;
}

NodeId HandleTable::node_of(std::uint64_t fh) noexcept {
  Handle* const handle = slots_.pin(fh);
  if (handle == nullptr) return 0;
  return HandleRef(this, handle)->node;
}

Result<void> HandleTable::release(std::uint64_t fh, NodeId node) noexcept {
  HandleRef ref = TRY(get(fh, node));
  // Our own pin makes `owned` false; letting go of it below ends the handle.
  if (!slots_.retire(*ref, SlotNumber::generation(fh)).has_value()) {
    return bad_handle(fh, node, "released twice");
  }
  fault_point(Fault::release);
  return ok();
}

void HandleTable::unpin(Handle& handle) noexcept {
  if (slots_.unpin(handle)) destroy(handle);
}

void HandleTable::destroy(Handle& handle) noexcept {
  UniqueFd fd(handle.fd.exchange(-1));
  UniqueFd direct(handle.direct_fd.exchange(-1));
  const std::unique_ptr<DirStream> stream(std::exchange(stream_of(handle), nullptr));
  const std::uint32_t inode_slot = handle.inode_slot;
  open_.fetch_sub(1, std::memory_order_relaxed);
  slots_.free(handle);
  // Descriptors first: the inode's may be the one that keeps a removed file's blocks otherwise.
  fd.reset();
  direct.reset();
  inodes_.drop_hold(inode_slot);
}

bool HandleTable::is_whole(const Handle& handle, const Inode& inode) noexcept {
  if (handle.kind > HandleKind::directory || handle.io > HandleIo::passthrough) return false;
  if ((handle.kind == HandleKind::directory) != S_ISDIR(inode.type)) return false;
  const int fd = handle.fd.load(std::memory_order_relaxed);
  if (fd < 0) {
    return handle.io == HandleIo::passthrough || handle.missing.load() != Missing::nothing;
  }
  return InodeTable::is_open_on(fd, inode);
}

// A passthrough handle that nothing has needed a descriptor for needs none now.
void HandleTable::forget_descriptors() noexcept {
  for (std::uint32_t slot = 1; slot < slots_.high_water(); ++slot) {
    Handle& handle = slots_.at(slot);
    // In this order: it may be cut short, and is begun anew then.
    if (slots_.is_live(handle) && handle.fd.load() >= 0) {
      handle.missing.store(Missing::descriptor);
    }
    handle.fd.store(-1);
    handle.direct_fd.store(-1);
  }
}

Result<void> HandleTable::recover() {
  owned_ = true;
  stream_region_.clear();  // pointers of the dead process
  open_.store(0);
  std::size_t damaged = 0;
  TRY(slots_.rebuild([&](Handle& handle, bool live) {
    Inode* inode = live ? inodes_.hold_in_recovery(handle.inode_slot, handle.node) : nullptr;
    if (inode != nullptr && !is_whole(handle, *inode)) {
      --inode->holds;
      inode = nullptr;
    }
    if (live && inode == nullptr) ++damaged;
    if (inode == nullptr) {
      handle.fd.store(-1);
      handle.direct_fd.store(-1);
      return SlotTable<Handle>::Fate::ends;
    }
    const int direct = handle.direct_fd.load(std::memory_order_relaxed);
    if (direct >= 0 && !InodeTable::is_open_on(direct, *inode)) handle.direct_fd.store(-1);
    open_.fetch_add(1, std::memory_order_relaxed);
    if (handle.kind == HandleKind::directory) {
      stream_of(handle) = new DirStream;
    } else if (handle.io == HandleIo::passthrough) {
      ++inode->backing_users;
      if ((handle.flags & O_ACCMODE) == O_RDWR) inode->mappable_opens.fetch_add(1);
    } else {
      ++inode->daemon_opens;
    }
    return SlotTable<Handle>::Fate::goes_on;
  }));
  if (damaged != 0) log_error("{} open files are damaged in memory, and gone", damaged);
  return ok();
}

void HandleTable::for_each(const Visitor& visit) { (void)for_some(0, SIZE_MAX, visit); }

std::uint64_t HandleTable::for_some(std::uint64_t position, std::size_t most,
                                    const Visitor& visit) {
  const std::uint32_t end = slots_.high_water();
  if (position >= end) return 0;
  for (auto slot = std::max<std::uint32_t>(static_cast<std::uint32_t>(position), 1); slot < end;
       ++slot) {
    if (most == 0) return slot;
    Handle& candidate = slots_.at(slot);
    const std::uint64_t fh = slots_.number_of(candidate, slot);
    Handle* handle = slots_.pin(fh);
    if (handle == nullptr) continue;
    const HandleRef ref(this, handle);
    visit(fh, ref);
    --most;
  }
  return 0;
}

template <typename Wanted>
HandleRef HandleTable::find_if(Wanted&& wanted) noexcept {
  const std::uint32_t end = slots_.high_water();
  for (std::uint32_t slot = 1; slot < end; ++slot) {
    Handle& candidate = slots_.at(slot);
    Handle* handle = slots_.pin(slots_.number_of(candidate, slot));
    if (handle == nullptr) continue;
    HandleRef ref(this, handle);
    if (wanted(*ref)) return ref;
  }
  return {};
}

NodeId HandleTable::any_file() noexcept {
  const HandleRef found =
      find_if([](const Handle& handle) { return handle.kind == HandleKind::file; });
  return found ? found->node : 0;
}

bool HandleTable::has_writer(NodeId node) noexcept {
  return static_cast<bool>(find_if([&](const Handle& handle) {
    return handle.node == node && handle.kind == HandleKind::file &&
           (handle.flags & O_ACCMODE) != O_RDONLY;
  }));
}

}  // namespace passthroughfs
