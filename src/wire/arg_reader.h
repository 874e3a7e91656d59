// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <type_traits>

#include "base/bytes.h"
#include "base/result.h"

namespace passthroughfs::wire {

// Takes the arguments of one request from the front of its bytes. Short input is an ordinary error
// (EINVAL), never a read outside. Not thread-safe; views it returns live as long as the bytes.
class ArgReader {
 public:
  explicit ArgReader(ByteSpan bytes) noexcept : rest_(bytes) {}

  // A copy of the next struct, so that alignment of the buffer does not matter.
  template <typename T>
  requires std::is_trivially_copyable_v<T>
  [[nodiscard]] Result<T> fetch() noexcept {
    if (rest_.size() < sizeof(T)) return Err(EINVAL);
    T value;
    std::memcpy(&value, rest_.data(), sizeof(T));
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }

  // The next NUL-terminated string, without the NUL.
  [[nodiscard]] Result<std::string_view> fetch_string() noexcept;
  // The same, checked to be one component: not empty, no '/', not "." or "..", at most 255 bytes
  // (ENAMETOOLONG).
  [[nodiscard]] Result<std::string_view> fetch_name() noexcept;
  // Exactly `size` bytes.
  [[nodiscard]] Result<ByteSpan> fetch_bytes(std::size_t size) noexcept;
  [[nodiscard]] ByteSpan rest() const noexcept { return rest_; }

  // EINVAL when bytes are left over. Requests are padded nowhere, so leftovers mean a bad request.
  [[nodiscard]] Result<void> finish() const noexcept;

 private:
  ByteSpan rest_;
};

}  // namespace passthroughfs::wire
