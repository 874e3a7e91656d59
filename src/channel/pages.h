// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"

namespace passthroughfs {

[[nodiscard]] inline std::size_t page_size() noexcept {
  static const auto kSize = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return kSize;
}

// Private anonymous memory, whole pages, zero; it costs what is touched. Move-only.
class Pages {
 public:
  // Errors: ENOMEM.
  static Result<Pages> map(std::size_t size) noexcept {
    void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return Errno::last();
    return Pages(MutableByteSpan(static_cast<std::byte*>(at), size));
  }
  Pages(Pages&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  Pages& operator=(Pages&&) = delete;
  ~Pages() {
    if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
  }
  [[nodiscard]] MutableByteSpan bytes() const noexcept { return bytes_; }

 private:
  explicit Pages(MutableByteSpan bytes) noexcept : bytes_(bytes) {}
  MutableByteSpan bytes_;
};

}  // namespace passthroughfs
