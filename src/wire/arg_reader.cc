// SPDX-License-Identifier: Apache-2.0
#include "wire/arg_reader.h"

#include <climits>

namespace passthroughfs::wire {

Result<std::string_view> ArgReader::fetch_string() noexcept {
  if (rest_.empty()) return Err(EINVAL);
  const void* end = std::memchr(rest_.data(), 0, rest_.size());
  if (end == nullptr) return Err(EINVAL);
  const auto length = static_cast<std::size_t>(static_cast<const std::byte*>(end) - rest_.data());
  const std::string_view text = text_of(rest_.first(length));
  rest_ = rest_.subspan(length + 1);
  return text;
}

Result<std::string_view> ArgReader::fetch_name() noexcept {
  const std::string_view name = TRY(fetch_string());
  if (name.empty() || name == "." || name == "..") return Err(EINVAL);
  if (name.find('/') != std::string_view::npos) return Err(EINVAL);
  if (name.size() > NAME_MAX) return Err(ENAMETOOLONG);
  return name;
}

Result<ByteSpan> ArgReader::fetch_bytes(std::size_t size) noexcept {
  if (rest_.size() < size) return Err(EINVAL);
  const ByteSpan bytes = rest_.first(size);
  rest_ = rest_.subspan(size);
  return bytes;
}

Result<void> ArgReader::finish() const noexcept {
  if (!rest_.empty()) return Err(EINVAL);
  return ok();
}

}  // namespace passthroughfs::wire
