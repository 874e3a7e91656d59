// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>

namespace passthroughfs {

// The kernel refuses errors above 511, and on /dev/fuse then leaves the request unanswered. They
// exist: some file systems leak internal ones (ENOTSUPP, 524) out of their system calls.
[[nodiscard]] constexpr int sendable_errno(int error) noexcept {
  return error > 511 || error < 0 ? EIO : error;
}

}  // namespace passthroughfs
