// SPDX-License-Identifier: Apache-2.0
//
// How the journal looks at the source: at one inode, and into a directory.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <optional>

#include "base/fd.h"
#include "base/result.h"
#include "changes/record.h"
#include "source/source_tree.h"
#include "source/sys.h"

namespace passthroughfs {

[[nodiscard]] ObjectKey key_of(const struct statx& st) noexcept;

// Attributes, with the time of birth where there is one; nothing if that fails. `name` empty: of
// `directory` itself. Never waits for a file system that may be this very mount, seen inside its
// own source.
[[nodiscard]] std::optional<struct statx> look_at(BorrowedFd directory, const char* name) noexcept;

// A file or directory for reading, whose access time stays as it is where that is possible: only
// its owner may ask for that. `fd`: O_PATH is enough. `flags`: beyond O_RDONLY. Errors: of open(2).
[[nodiscard]] Result<UniqueFd> open_quietly(const SourceTree& source, BorrowedFd fd,
                                            int flags = 0) noexcept;

// Calls `visit` for each name in a directory that is open for reading, "." and ".." left out.
// Errors: of getdents64(2); some names may have been visited then.
Result<void> for_each_name(BorrowedFd directory,
                           const std::function<void(const sys::RawDirent&)>& visit);

}  // namespace passthroughfs
