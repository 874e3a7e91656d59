// SPDX-License-Identifier: Apache-2.0
#include "changes/unseen_writes.h"

#include <fcntl.h>

#include <new>
#include <vector>

#include "base/log.h"
#include "changes/look.h"
#include "source/write_probe.h"
#include "table/slot_table.h"

namespace passthroughfs {
namespace {

bool can_write(std::uint32_t flags) noexcept { return (flags & O_ACCMODE) != O_RDONLY; }
bool can_map(std::uint32_t flags) noexcept { return (flags & O_ACCMODE) == O_RDWR; }

}  // namespace

void UnseenWrites::ask(const InodeRef& inode, bool mappable) {
  const auto file = open_quietly(source_, inode.fd());
  tracker_.asks_again(inode, file ? file->borrow() : inode.fd(), mappable);
  // From now on a store through a mapping moves the times again: a page that is clean is written to
  // only by way of the kernel.
  if (file && mappable && !tracker_.traits().silent_mappings) {
    (void)::sync_file_range(
        file->get(), 0, 0,
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
  }
}

void UnseenWrites::adopt(const std::vector<NodeId>& mapped) {
  MutexLock lock(mutex_);
  mapped_.insert(mapped.begin(), mapped.end());
}

void UnseenWrites::ask_open() {
  struct Writer {
    NodeId node;
    bool mappable;
  };
  std::vector<Writer> writers;
  handles_.for_each([&](std::uint64_t, const HandleRef& handle) {
    if (handle->kind == HandleKind::file && handle->io == HandleIo::passthrough &&
        can_write(handle->flags)) {
      writers.push_back({handle->node, can_map(handle->flags)});
    }
  });
  for (const Writer& writer : writers) {
    if (const auto inode = inodes_.get(writer.node)) ask(*inode, writer.mappable);
  }
}

bool UnseenWrites::may_be_mapped(const InodeRef& inode) noexcept {
  try {
    MutexLock lock(mutex_);
    const bool first = mapped_.empty();
    if (mapped_.insert(inode.id()).second) inodes_.hold(inode);
    return first;
  } catch (const std::bad_alloc&) {
    log_warning("no memory to watch a mapping: stores through it may go unreported");
    return false;
  }
}

bool UnseenWrites::is_watching() noexcept {
  MutexLock lock(mutex_);
  return !mapped_.empty();
}

void UnseenWrites::look_at_mapped(bool begins) {
  std::unordered_set<NodeId> nodes;
  {
    MutexLock lock(mutex_);
    nodes.swap(mapped_);
  }
  for (auto at = nodes.begin(); at != nodes.end();) {
    const auto inode = inodes_.get(*at);
    const auto st = inode ? look_at(inode->fd(), "") : std::nullopt;
    if (st && st->stx_nlink > 0 && may_be_written(source_, inode->fd())) {
      if (begins) ask(*inode, true);
      ++at;
    } else {
      inodes_.drop_hold(SlotNumber::slot(*at));
      at = nodes.erase(at);
    }
  }
  MutexLock lock(mutex_);
  mapped_.merge(nodes);
  // Those were closed once more meanwhile, and are held twice.
  for (const NodeId node : nodes) inodes_.drop_hold(SlotNumber::slot(node));
}

}  // namespace passthroughfs
