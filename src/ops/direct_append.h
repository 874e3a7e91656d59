// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/context.h"

namespace passthroughfs {

// One of the appends past the page cache that are being written to an inode.
class DirectAppend {
 public:
  explicit DirectAppend(const InodeRef& inode) noexcept : inode_(inode) {
    inode_->direct_appends.fetch_add(1, std::memory_order_relaxed);
  }
  ~DirectAppend() { inode_->direct_appends.fetch_sub(1, std::memory_order_release); }
  DirectAppend(const DirectAppend&) = delete;
  DirectAppend& operator=(const DirectAppend&) = delete;

 private:
  const InodeRef& inode_;
};

// With O_DIRECT the kernel sends all parts of a long write at once, and which is served first is a
// matter of chance; but the source appends them in the order in which it gets them. No other append
// runs in this mount meanwhile, the kernel holds the inode's lock over all the parts. So it is a
// part's turn when the file (`fd`) is as long as the kernel reckoned (`offset`, bytes).
//
// Returns as well, after a while, when that does not come to pass: somebody made the file shorter
// behind the mount. Errors: those of OpContext::may_wait.
Result<void> wait_for_turn(OpContext& context, const InodeRef& inode, BorrowedFd fd,
                           std::uint64_t offset);

}  // namespace passthroughfs
