// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/result.h"

namespace passthroughfs {

// Sends a file's data to a descriptor through a pipe, so that this process never copies it: the
// pipe holds references to the pages of the file. For one thread.
//
// The pipe is made when first needed and costs two descriptors; it is always empty between calls.
class FilePipe {
 public:
  // `most`: the largest message. Without the right to as large a pipe, smaller messages are sent.
  explicit FilePipe(std::size_t most) noexcept : most_(most) {}

  // Sends `header` and `size` bytes of `file` from `offset` on, as one message. EOPNOTSUPP: nothing
  // was sent, because there is no pipe for it (EMFILE, too large), the file cannot be spliced, or
  // has fewer bytes; another way will do, or tells what is wrong. Other errors are the target's.
  Result<void> send(BorrowedFd target, ByteSpan header, BorrowedFd file, std::uint64_t offset,
                    std::size_t size) noexcept;

 private:
  Result<void> make() noexcept;
  Result<void> fill(ByteSpan header, BorrowedFd file, std::uint64_t offset,
                    std::size_t size) noexcept;
  void discard() noexcept;

  const std::size_t most_;
  std::size_t room_ = 0;  // for data, wherever in its page that begins
  UniqueFd in_, out_;
};

}  // namespace passthroughfs
