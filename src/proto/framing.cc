// SPDX-License-Identifier: Apache-2.0
#include "proto/framing.h"

#include <cerrno>

namespace passthroughfs {

void LineReader::append(std::string_view bytes) { buffer_.append(bytes); }

Result<std::optional<std::string>> LineReader::next() {
  const std::size_t end = buffer_.find('\n', searched_);
  if (end == std::string::npos) {
    searched_ = buffer_.size();
    if (buffer_.size() > limit_) return Err(EMSGSIZE);
    return std::optional<std::string>();
  }
  if (end > limit_) return Err(EMSGSIZE);
  std::optional<std::string> line(buffer_.substr(0, end));
  buffer_.erase(0, end + 1);
  searched_ = 0;
  return line;
}

}  // namespace passthroughfs
