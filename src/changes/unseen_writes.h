// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "changes/tracker.h"
#include "source/source_tree.h"
#include "table/handle_table.h"
#include "table/inode_table.h"

namespace passthroughfs {

// Files whose content may change without a request: open for writing in passthrough, or mapped for
// writing since then. What they are like is asked as each epoch begins. Thread-safe.
class UnseenWrites {
 public:
  // All must outlive this.
  UnseenWrites(const SourceTree& source, InodeTable& inodes, HandleTable& handles,
               ChangeTracker& tracker) noexcept
      : source_(source), inodes_(inodes), handles_(handles), tracker_(tracker) {}
  // After look_at_mapped(): what is still watched stays held in the inode table.
  ~UnseenWrites() = default;

  // The last close of a passthrough file that could be mapped for writing: it may be mapped still,
  // and is held until it is not. True: it is the first such file.
  bool may_be_mapped(const InodeRef& inode) noexcept PFS_EXCLUDES(mutex_);
  [[nodiscard]] bool is_watching() noexcept PFS_EXCLUDES(mutex_);

  // Files that another process watched, held in the inode table by it. May throw std::bad_alloc.
  void adopt(const std::vector<NodeId>& mapped) PFS_EXCLUDES(mutex_);

  // An epoch begins: asks about the files that are open. May throw std::bad_alloc.
  void ask_open();
  // Lets go of closed files that are not mapped any more. `begins`: an epoch does, so asks about
  // the others. May throw std::bad_alloc.
  void look_at_mapped(bool begins) PFS_EXCLUDES(mutex_);

 private:
  void ask(const InodeRef& inode, bool mappable);

  const SourceTree& source_;
  InodeTable& inodes_;
  HandleTable& handles_;
  ChangeTracker& tracker_;
  Mutex mutex_;
  std::unordered_set<NodeId> mapped_ PFS_GUARDED_BY(mutex_);  // held in the inode table
};

}  // namespace passthroughfs
