// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "base/fd.h"
#include "base/result.h"

namespace passthroughfs {

// Memory for a table: sparse, shared between processes that hold its descriptor, never moved. Pages
// cost nothing until touched. Move-only; unmapped when destroyed.
class Region {
 public:
  // Reserves `bytes` of address space behind a memfd of that name. Errors: ENOMEM, EMFILE, EFBIG
  // (RLIMIT_FSIZE).
  static Result<Region> create(const char* name, std::size_t bytes) noexcept;

  Region(Region&& other) noexcept;
  Region& operator=(Region&&) = delete;
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  ~Region();

  // Makes all of it zero again.
  void clear() noexcept;

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  Region(UniqueFd memory, std::byte* data, std::size_t size) noexcept
      : memory_(std::move(memory)), data_(data), size_(size) {}

  UniqueFd memory_;
  std::byte* data_;
  std::size_t size_;
};

}  // namespace passthroughfs
