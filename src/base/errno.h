// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <string>

namespace passthroughfs {

// A positive errno value, kept whole from the system call to the reply. Zero never occurs: a result
// without an error has no Errno. The sign flips in one place only, when the reply is encoded.
class Errno {
 public:
  constexpr explicit Errno(int value) noexcept : value_(value > 0 ? value : EIO) {}

  // The error of the system call that has just failed on this thread.
  [[nodiscard]] static Errno last() noexcept { return Errno(errno); }

  [[nodiscard]] constexpr int value() const noexcept { return value_; }

  // "ENOENT (No such file or directory)".
  [[nodiscard]] std::string to_string() const;

  friend constexpr bool operator==(Errno, Errno) noexcept = default;
  friend constexpr bool operator==(Errno error, int value) noexcept {
    return error.value_ == value;
  }

 private:
  int value_;
};

}  // namespace passthroughfs
