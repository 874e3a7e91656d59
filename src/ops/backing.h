// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <string>

#include "base/fd.h"
#include "base/mutex.h"
#include "channel/channel.h"
#include "table/inode_table.h"

namespace passthroughfs {

// Decides per file whether the kernel reads and writes the source itself (passthrough) or sends
// each read and write to the daemon.
//
// The kernel wants one backing file per inode and all opens of an inode in one way at a time; it
// answers EIO otherwise. So the first open decides and the others follow until the last is
// released. A backing id is registered from the O_PATH descriptor and stays with the inode
// afterwards: the next open costs no system call. It goes when the inode is forgotten or its
// descriptor given up.
//
// A refusal (no CAP_SYS_ADMIN, a source that is itself stacked) makes that file go through the
// daemon and is remembered for its device. Thread-safe.
class Backings {
 public:
  // Without this call every file goes through the daemon, for `reason`.
  void enable(Channel& channel) noexcept { channel_ = &channel; }
  void decline(std::string reason) PFS_EXCLUDES(reasons_mutex_);
  [[nodiscard]] bool enabled() const noexcept {
    return channel_ != nullptr && !refused_everywhere_.load(std::memory_order_relaxed);
  }

  // One more open of a regular file. Gives its backing id, or 0: through the daemon.
  [[nodiscard]] std::int32_t begin_open(const InodeRef& inode) noexcept;
  // The end of an open that begin_open answered with an id (passthrough) or 0.
  void end_open(const InodeRef& inode, bool passthrough) noexcept;

  // An inode ends, or gives up its descriptor; nobody uses the id any more.
  void close(std::int32_t id) noexcept;

  // Why files went through the daemon, one line per cause; empty if none did.
  [[nodiscard]] std::string reasons() const PFS_EXCLUDES(reasons_mutex_);

 private:
  std::int32_t register_file(const InodeRef& inode) noexcept;

  Channel* channel_ = nullptr;
  std::atomic<bool> refused_everywhere_{false};
  std::array<Mutex, 64> locks_;  // by inode slot: the counts and the id in the Inode
  mutable Mutex reasons_mutex_;
  std::map<std::uint64_t, std::string> reasons_
      PFS_GUARDED_BY(reasons_mutex_);  // by device; 0: all
};

}  // namespace passthroughfs
