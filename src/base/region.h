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
  // Maps the memory of another program's region. EUCLEAN: it is none of that size.
  static Result<Region> adopt(UniqueFd memory, std::size_t bytes) noexcept;

  Region(Region&& other) noexcept;
  Region& operator=(Region&&) = delete;
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  ~Region();

  // Makes all of it zero again.
  void clear() noexcept;

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] BorrowedFd memory() const noexcept { return memory_.borrow(); }
  // It was made by create(), and is zero where nobody has written.
  [[nodiscard]] bool is_fresh() const noexcept { return fresh_; }

 private:
  Region(UniqueFd memory, std::byte* data, std::size_t size, bool fresh) noexcept
      : memory_(std::move(memory)), data_(data), size_(size), fresh_(fresh) {}
  static Result<Region> map(UniqueFd memory, std::size_t bytes, bool fresh) noexcept;

  UniqueFd memory_;
  std::byte* data_;
  std::size_t size_;
  bool fresh_;
};

}  // namespace passthroughfs
