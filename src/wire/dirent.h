// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "wire/abi.h"

namespace passthroughfs::wire {

// Packs directory entries into a READDIR or READDIRPLUS answer. Lends the buffer, which must be
// 8-byte aligned. Not thread-safe.
class DirentWriter {
 public:
  explicit DirentWriter(MutableByteSpan buffer) noexcept : buffer_(buffer) {}

  // `offset` is the cookie of the *next* entry. False when the entry does not fit any more; then
  // nothing was written.
  [[nodiscard]] bool add(std::uint64_t ino, std::uint64_t offset, std::uint32_t type,
                         std::string_view name) noexcept;
  [[nodiscard]] bool add_plus(const EntryOut& entry, std::uint64_t ino, std::uint64_t offset,
                              std::uint32_t type, std::string_view name) noexcept;

  // Whether an entry with a name of this length would fit; asked before a lookup is counted.
  [[nodiscard]] bool fits(std::size_t name_length, bool plus) const noexcept;

  [[nodiscard]] ByteSpan written() const noexcept { return ByteSpan(buffer_).first(used_); }

 private:
  MutableByteSpan buffer_;
  std::size_t used_ = 0;
};

}  // namespace passthroughfs::wire
