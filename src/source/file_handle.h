// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/fd.h"
#include "base/result.h"

namespace passthroughfs {

// The source file system's own persistent name of an inode (name_to_handle_at(2)), as far as it
// fits a table slot. Two files that follow each other on one inode number have different handles.
struct FileHandle {
  static constexpr std::size_t kMaxBytes = 40;  // ext4 8, tmpfs 12, xfs 24, btrfs 20, overlayfs 32+

  std::int32_t mount_id = 0;
  std::int32_t type = 0;
  std::uint8_t bytes = 0;
  unsigned char data[kMaxBytes] = {};

  // The handle of what `fd` (O_PATH is enough) refers to. EOPNOTSUPP: the file system has none;
  // EOVERFLOW: longer than kMaxBytes. Both mean that the descriptor has to be kept.
  static Result<FileHandle> of(BorrowedFd fd) noexcept;

  // Opens it again, O_PATH. `mount` is an ordinary (not O_PATH) descriptor on the same mount. Needs
  // CAP_DAC_READ_SEARCH (EPERM). ESTALE: the file is gone.
  [[nodiscard]] Result<UniqueFd> open(BorrowedFd mount) const noexcept;

  [[nodiscard]] bool same_file(const FileHandle& other) const noexcept;
};

}  // namespace passthroughfs
