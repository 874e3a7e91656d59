// SPDX-License-Identifier: Apache-2.0
#include "source/sys.h"

#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <cstring>

namespace passthroughfs::sys {
namespace {

// The same number on every architecture, as for all calls this new; the headers of Debian 12 lack
// it.
constexpr long kFchmodat2 = 452;

// Whether the kernel has a call; the first ENOSYS settles it. Filters of containers answer EPERM to
// calls they do not know, but so does a file system: only ENOSYS counts.
class Probe {
 public:
  [[nodiscard]] bool missing() const noexcept { return missing_.load(std::memory_order_relaxed); }
  bool note(long returned) noexcept {
    if (returned >= 0 || errno != ENOSYS) return false;
    missing_.store(true, std::memory_order_relaxed);
    return true;
  }

 private:
  std::atomic<bool> missing_{false};
};

Probe g_fchmodat2;

}  // namespace

Result<struct statx> stat_at(BorrowedFd fd, const char* name, unsigned mask) noexcept {
  struct statx st;
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name == '\0' ? AT_EMPTY_PATH : 0);
  if (::statx(fd.get(), name, flags, mask, &st) < 0) return Errno::last();
  return st;
}

Result<void> chmod_fd(BorrowedFd fd, mode_t mode) noexcept {
  if (!g_fchmodat2.missing()) {
    const long done = ::syscall(kFchmodat2, fd.get(), "", mode, AT_EMPTY_PATH);
    if (!g_fchmodat2.note(done)) return check_void(done);
  }
  return check_void(::chmod(ProcFdPath(fd).c_str(), mode));
}

Result<void> set_xattr(BorrowedFd fd, const char* name, ByteSpan value, int flags) noexcept {
  return check_void(::setxattr(ProcFdPath(fd).c_str(), name, value.data(), value.size(), flags));
}

Result<std::size_t> get_xattr(BorrowedFd fd, const char* name, MutableByteSpan out) noexcept {
  const ssize_t done = ::getxattr(ProcFdPath(fd).c_str(), name, out.data(), out.size());
  if (done < 0) return Errno::last();
  return static_cast<std::size_t>(done);
}

Result<std::size_t> list_xattr(BorrowedFd fd, MutableByteSpan out) noexcept {
  const ssize_t done =
      ::listxattr(ProcFdPath(fd).c_str(), reinterpret_cast<char*>(out.data()), out.size());
  if (done < 0) return Errno::last();
  return static_cast<std::size_t>(done);
}

Result<void> remove_xattr(BorrowedFd fd, const char* name) noexcept {
  return check_void(::removexattr(ProcFdPath(fd).c_str(), name));
}

ProcFdPath::ProcFdPath(BorrowedFd fd) noexcept {
  constexpr char kPrefix[] = "/proc/self/fd/";
  std::memcpy(text_.data(), kPrefix, sizeof kPrefix - 1);
  (void)std::to_chars(text_.data() + sizeof kPrefix - 1, text_.data() + text_.size() - 1, fd.get());
}

Result<std::size_t> read_directory(BorrowedFd fd, MutableByteSpan out) noexcept {
  const long done = ::syscall(SYS_getdents64, fd.get(), out.data(), out.size());
  if (done < 0) return Errno::last();
  return static_cast<std::size_t>(done);
}

}  // namespace passthroughfs::sys
