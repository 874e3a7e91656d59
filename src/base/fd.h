// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <utility>

#include "base/result.h"

namespace passthroughfs {

// A descriptor lent for the length of one call. It is never stored and never closed.
class BorrowedFd {
 public:
  constexpr explicit BorrowedFd(int fd) noexcept : fd_(fd) {}
  [[nodiscard]] constexpr int get() const noexcept { return fd_; }
  [[nodiscard]] constexpr bool valid() const noexcept { return fd_ >= 0; }

 private:
  int fd_;
};

// Owns one descriptor; closes it when destroyed. Move-only. Passing it by value hands it over.
class UniqueFd {
 public:
  UniqueFd() noexcept = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] bool valid() const noexcept { return fd_ >= 0; }
  [[nodiscard]] BorrowedFd borrow() const noexcept { return BorrowedFd(fd_); }

  // Gives up ownership; the caller now closes it.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept;

  // Closes and reports what close(2) said (a network source reports lost writes here). Not retried
  // on EINTR: on Linux the descriptor is gone whatever close returns.
  Result<void> close_checked() noexcept;

 private:
  int fd_ = -1;
};

// Takes ownership of what an open-like system call returned.
[[nodiscard]] inline Result<UniqueFd> own(int returned) noexcept {
  if (returned < 0) return Errno::last();
  return UniqueFd(returned);
}

// A second descriptor for the same open file description, close-on-exec. Errors: EMFILE.
Result<UniqueFd> duplicate(BorrowedFd fd) noexcept;

}  // namespace passthroughfs

// Closing an owned descriptor behind its owner's back must not compile.
int close(const passthroughfs::UniqueFd&) = delete;
