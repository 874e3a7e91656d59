// SPDX-License-Identifier: Apache-2.0
//
// Of InodeTable: taking over from a process that has died.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <unordered_map>

#include "base/log.h"
#include "table/inode_table.h"

namespace passthroughfs {

// Where a file system does not keep numbers for good, as overlayfs when it copies a file up, there
// is only its type to go by.
bool InodeTable::is_open_on(int fd, const Inode& inode) noexcept {
  struct statx st {};
  constexpr unsigned kMask = STATX_TYPE | STATX_INO;
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, kMask, &st) != 0) return errno != EBADF;
  if ((st.stx_mode & S_IFMT) != inode.type) return false;
  if (st.stx_ino == inode.key.ino &&
      device_number(st.stx_dev_major, st.stx_dev_minor) == inode.key.device) {
    return true;
  }
  struct statfs fs {};
  return ::fstatfs(fd, &fs) == 0 && fs.f_type == OVERLAYFS_SUPER_MAGIC;
}

bool InodeTable::is_open_on(int fd, NodeId id) const noexcept {
  const std::uint32_t slot = SlotNumber::slot(id);
  if (slot == 0 || slot >= slots_.high_water()) return false;
  const Inode& inode = slots_.at(slot);
  return slots_.is_live(inode) && id_of(inode) == id && is_open_on(fd, inode);
}

bool InodeTable::is_whole(const Inode& inode) const noexcept {
  if (inode.key.ino == 0) return false;
  const int fd = inode.fd.load(std::memory_order_relaxed);
  if (fd >= 0) return is_open_on(fd, inode);
  return (inode.handle_bytes != 0 || was_forgotten_) && inode.handle_bytes <= FileHandle::kMaxBytes;
}

// The root first: whoever finds it another's has changed nothing.
Result<void> InodeTable::forget_descriptors() {
  TRY(slots_.check());
  Inode& root = slots_.at(static_cast<std::uint32_t>(kRoot));
  if (!is_open_on(source_.root().get(), root)) return Err(EUCLEAN);
  for (auto slot = static_cast<std::uint32_t>(kRoot); slot < slots_.high_water(); ++slot) {
    slots_.at(slot).fd.store(-1);
  }
  root.fd.store(TRY(duplicate(source_.root())).release());
  return ok();
}

bool InodeTable::is_lost(std::uint32_t slot) const noexcept {
  if (slot == 0 || slot >= slots_.high_water()) return false;
  const Inode& inode = slots_.at(slot);
  return slots_.is_live(inode) && inode.fd.load() < 0 && inode.handle_bytes == 0;
}

std::uint64_t InodeTable::count_lost() const noexcept {
  std::uint64_t count = 0;
  for (auto slot = static_cast<std::uint32_t>(kRoot); slot < slots_.high_water(); ++slot) {
    count += is_lost(slot) ? 1 : 0;
  }
  return count;
}

Result<void> InodeTable::begin_recovery(std::vector<NodeId>* mapped) {
  TRY(slots_.check());
  if (!is_whole(slots_.at(static_cast<std::uint32_t>(kRoot)))) return Err(EUCLEAN);
  // An id that is another's, too, belongs to one of the two and nobody knows to which. The kernel
  // keeps it for them who use it now.
  std::unordered_map<std::int32_t, Inode*> backed;
  std::size_t damaged = 0;
  for (auto slot = static_cast<std::uint32_t>(kRoot); slot < slots_.high_water(); ++slot) {
    Inode& inode = slots_.at(slot);
    if (inode.key.ino != 0 && inode.backing_id != 0) {
      const auto [at, added] = backed.try_emplace(inode.backing_id, &inode);
      if (!added) at->second->backing_id = 0;
      if (!added || inode.backing_id < 0) inode.backing_id = 0;
    }
    if (!slots_.is_live(inode) || is_whole(inode)) continue;
    slots_.discard(inode);
    ++damaged;
  }
  if (damaged != 0) log_error("{} inodes are damaged in memory, and gone", damaged);
  for (auto slot = static_cast<std::uint32_t>(kRoot); slot < slots_.high_water(); ++slot) {
    Inode& inode = slots_.at(slot);
    inode.holds = 0;
    inode.backing_users = 0;
    inode.daemon_opens = 0;
    inode.direct_appends.store(0, std::memory_order_relaxed);
    // A RELEASE may have been cut short before it left this mark, which does no harm.
    if (inode.mappable_opens.exchange(0) != 0) inode.maybe_mapped.store(1);
    if (mapped != nullptr && inode.maybe_mapped.load() != 0 && slots_.is_live(inode)) {
      mapped->push_back(id_of(inode));
      ++inode.holds;
    }
  }
  return ok();
}

Inode* InodeTable::hold_in_recovery(std::uint32_t slot, NodeId id) noexcept {
  if (slot == 0 || slot >= slots_.high_water()) return nullptr;
  Inode& inode = slots_.at(slot);
  if (!slots_.is_live(inode) || id_of(inode) != id) return nullptr;
  ++inode.holds;
  return &inode;
}

void InodeTable::set_count_in_recovery(std::uint32_t slot, std::uint64_t count) noexcept {
  if (slot > kRoot && slot < slots_.high_water()) slots_.at(slot).nlookup = count;
}

Result<void> InodeTable::recover() {
  for (Shard& shard : shards_) {
    MutexLock lock(shard.mutex);
    std::fill(shard.buckets.begin(), shard.buckets.end(), 0);
    shard.used = 0;
  }
  evictable_.clear();
  unsaved_.clear();
  budget_.reset();
  known_.store(0);
  std::vector<std::int32_t> backing_ids;
  const auto settle = [&](Inode& inode, bool live) {
    if (slots_.slot_of(inode) == kRoot) {
      inode.holds = 1;
      live = true;
    }
    if (!live || (inode.nlookup == 0 && inode.holds == 0)) {
      if (inode.key.ino != 0 && inode.backing_id != 0) backing_ids.push_back(inode.backing_id);
      inode.backing_id = 0;
      inode.key = {0, 0};
      inode.nlookup = 0;
      inode.fd.store(-1);
      return SlotTable<Inode>::Fate::ends;
    }
    Shard& shard = shard_of(inode.key);
    {
      MutexLock lock(shard.mutex);
      insert_locked(shard, inode);
    }
    if (inode.fd.load() >= 0) {
      budget_.add();
      const std::uint32_t slot = slots_.slot_of(inode);
      if (slot != kRoot) set_evictable(inode, true);
      if (slot != kRoot && keeps_handles_ && inode.handle_bytes == 0) set_unsaved(slot);
    } else {
      evicting_.store(true);
      settled_.store(true);
    }
    known_.fetch_add(1);
    return SlotTable<Inode>::Fate::goes_on;
  };
  owned_ = true;
  TRY(slots_.rebuild(settle));
  if (backing_closer_ != nullptr) {
    for (const std::int32_t id : backing_ids) backing_closer_(backing_context_, id);
  }
  return ok();
}

}  // namespace passthroughfs
