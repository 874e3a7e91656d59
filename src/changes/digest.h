// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/fd.h"
#include "changes/record.h"

namespace passthroughfs {

// Of all extended attributes of an inode, ACLs among them. `name` empty: of `fd` (O_PATH is
// enough). 0: they cannot be read.
[[nodiscard]] Digest digest_xattrs(BorrowedFd fd, const char* name = "") noexcept;

// Of no attributes at all.
inline constexpr Digest kNoXattrs = 1;

// Of the content of an open file, if it has at most `most` bytes. 0: longer, or not readable.
[[nodiscard]] Digest digest_content(BorrowedFd fd, std::uint64_t most) noexcept;

// Content up to this is compared byte by byte (by its hash) where the times prove nothing.
inline constexpr std::uint64_t kMostComparedBytes = 1U << 20;

}  // namespace passthroughfs
