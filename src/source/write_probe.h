// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "source/source_tree.h"

namespace passthroughfs {

// Whether anybody has a regular file open for writing or mapped so, by asking the source for a read
// lease, which is refused as long as that is so. Only an answer of the source counts: where it has
// no leases the file stays suspect. `fd`: O_PATH is enough.
//
// The calling thread blocks SIGIO: whoever opens the file for writing in that moment makes the
// kernel send it.
[[nodiscard]] bool may_be_written(const SourceTree& source, BorrowedFd fd) noexcept;

}  // namespace passthroughfs
