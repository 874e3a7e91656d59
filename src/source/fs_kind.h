// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/statfs.h>

namespace passthroughfs {

// What the kind of a file system (statfs's f_type) says about its behaviour. Of a kind that is not
// known, nothing is true. What is mounted inside the source may be of another kind.
struct FsKind {
  bool remote = false;     // another machine or daemon may change its cached attributes
  bool stacked = false;    // on another file system
  bool in_memory = false;  // reads, writes and fsync are copies: they do not wait
  // Closing a file reports nothing, since nothing is written then (in Linux: no flush operation).
  bool silent_close = false;
};

[[nodiscard]] FsKind fs_kind(const struct statfs& fs) noexcept;

}  // namespace passthroughfs
