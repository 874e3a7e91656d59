// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace passthroughfs {

// Messages on the control socket are lines: one JSON text and a newline.
inline constexpr std::size_t kMaxRequestBytes = 64U << 10;
inline constexpr std::size_t kMaxReplyBytes = 64U << 20;

// Cuts a stream of bytes into lines. Holds at most `limit` bytes and what one append() brought. Not
// thread-safe.
class LineReader {
 public:
  explicit LineReader(std::size_t limit) : limit_(limit) {}

  void append(std::string_view bytes);

  // The next whole line, without its newline; nullopt: more bytes are needed. Errors: EMSGSIZE: a
  // line longer than the limit; the stream cannot be used any more.
  Result<std::optional<std::string>> next();

  // Whether a line has begun.
  [[nodiscard]] bool empty() const noexcept { return buffer_.empty(); }

 private:
  const std::size_t limit_;
  std::string buffer_;
  std::size_t searched_ = 0;  // there is no newline before this
};

}  // namespace passthroughfs
