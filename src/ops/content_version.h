// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/fd.h"
#include "table/inode_table.h"

namespace passthroughfs {

// Whether the pages that the kernel holds of this file are still true, so that an open may keep
// them; and remembers what is opened now. Decided by size, mtime and ctime against the last open.
// A change within the clock's resolution of the last open could look like none, so a file that
// changed a moment ago is never taken as unchanged.
[[nodiscard]] bool keep_pages(Inode& inode, BorrowedFd fd) noexcept;

}  // namespace passthroughfs
