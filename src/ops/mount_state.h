// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "changes/journal.h"
#include "ops/backing.h"
#include "ops/coherence.h"
#include "ops/file_times.h"
#include "ops/listing_habits.h"
#include "ops/options.h"
#include "source/source_tree.h"
#include "table/fd_budget.h"
#include "table/handle_table.h"
#include "table/inode_table.h"
#include "table/ledger.h"
#include "table/lock_table.h"

namespace passthroughfs {

// Takes what the kernel should no longer believe. Thread-safe.
class Invalidations {
 public:
  // Never blocks: a thread of its own sends it, because dropping pages from inside a handler can
  // deadlock with the very request that it answers.
  virtual void drop_pages(NodeId node) noexcept = 0;
  // The attributes alone, before it returns; safe inside every handler.
  virtual void drop_attributes(NodeId node) noexcept = 0;

 protected:
  ~Invalidations() = default;
};

// What all operations of one mount share. Constant while serving, but for the tables, which are
// thread-safe.
struct MountState {
  MountState(MountConfig config_, SourceTree source_, std::uint64_t descriptor_limit)
      : config(std::move(config_)), source(std::move(source_)), budget(descriptor_limit) {}

  const MountConfig config;
  SourceTree source;
  FdBudget budget;
  std::unique_ptr<InodeTable> inodes;
  std::unique_ptr<HandleTable> handles;
  std::unique_ptr<Ledgers> ledgers;  // null: no successor would look at them
  // The record of changes, and what operations tell it; null: none is kept.
  std::unique_ptr<ChangeJournal> journal;
  ChangeTracker* changes = nullptr;
  LockTable locks;
  Backings backings;
  // Of what others may change unseen; of the rest validity_on() knows more.
  Validity validity;
  Coherence coherence;
  FileTimes file_times;
  ListingHabits habits;
  Invalidations* invalidations = nullptr;

  [[nodiscard]] Validity validity_on(std::uint64_t device) const noexcept {
    if (!coherence.covers(device)) return validity;
    if (!coherence.covers_names(device)) return {validity.entry, kForEver, validity.negative};
    return {kForEver, kForEver, kForEver};
  }

  // The device that this mount itself shows, so that it is recognised when met inside the source.
  // 0 until mounted.
  std::uint64_t own_device = 0;
  // Set for network and FUSE sources, whose cached attributes statx must refresh.
  bool remote_source = false;
  // The source is in memory: reads, writes and fsync of it do not wait. Of what is mounted inside
  // the source that need not be true; such waits are found by WorkerPool.
  bool memory_source = false;
  // The kernel can map files that are opened to bypass its pages.
  bool maps_direct_files = false;
  // Closing a file on the source's own device reports nothing.
  bool silent_close = false;
  [[nodiscard]] bool closes_silently(const Inode& inode) const noexcept {
    return silent_close && inode.key.device == source.root_device();
  }
};

}  // namespace passthroughfs
