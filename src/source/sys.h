// SPDX-License-Identifier: Apache-2.0
//
// System calls that Debian 12's C library does not wrap, and those of which we always use one form.
// Raw int descriptors live here and in base/fd only. None of these follows a symbolic link.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/result.h"

namespace passthroughfs::sys {

// The attributes that the protocol can carry, of the object itself. `name` empty: of `fd`.
[[nodiscard]] Result<struct statx> stat_at(BorrowedFd fd, const char* name = "",
                                           unsigned mask = STATX_BASIC_STATS) noexcept;

// chmod on an O_PATH descriptor: fchmodat2 (Linux 6.6), else through /proc/self/fd. EOPNOTSUPP on
// symbolic links.
Result<void> chmod_fd(BorrowedFd fd, mode_t mode) noexcept;

// Extended attributes of the object that an O_PATH descriptor names, a symbolic link's own
// included. Always through /proc/self/fd: the *xattrat calls of Linux 6.13 refuse O_PATH
// descriptors (EBADF).
Result<void> set_xattr(BorrowedFd fd, const char* name, ByteSpan value, int flags) noexcept;
Result<std::size_t> get_xattr(BorrowedFd fd, const char* name, MutableByteSpan out) noexcept;
Result<std::size_t> list_xattr(BorrowedFd fd, MutableByteSpan out) noexcept;
Result<void> remove_xattr(BorrowedFd fd, const char* name) noexcept;

// The same of what has the name in a directory: by the calls of Linux 6.13, which take a third of
// the time, else through /proc/self/fd.
Result<std::size_t> get_xattr_at(BorrowedFd directory, const char* name, const char* attribute,
                                 MutableByteSpan out) noexcept;
Result<std::size_t> list_xattr_at(BorrowedFd directory, const char* name,
                                  MutableByteSpan out) noexcept;

// "/proc/self/fd/N".
class ProcFdPath {
 public:
  explicit ProcFdPath(BorrowedFd fd) noexcept;
  [[nodiscard]] const char* c_str() const noexcept { return text_.data(); }

 private:
  std::array<char, 32> text_{};
};

// A raw directory entry as getdents64 gives it.
struct RawDirent {
  std::uint64_t ino;
  std::uint64_t off;  // the cookie of the next entry
  std::uint16_t reclen;
  std::uint8_t type;
  char name[1];
};

// Fills `out` with entries; 0 bytes at the end of the directory.
Result<std::size_t> read_directory(BorrowedFd fd, MutableByteSpan out) noexcept;

}  // namespace passthroughfs::sys
