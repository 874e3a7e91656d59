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

// Numbers are the same on every architecture for calls this new; the headers of Debian 12 lack them.
constexpr long kSetxattrat = 463;
constexpr long kGetxattrat = 464;
constexpr long kListxattrat = 465;
constexpr long kRemovexattrat = 466;
constexpr long kFchmodat2 = 452;

struct XattrArgs {
  std::uint64_t value;
  std::uint32_t size;
  std::uint32_t flags;
};

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

Probe g_xattrat;
Probe g_fchmodat2;

// Through /proc a symbolic link would be followed or refused with ELOOP; natively most attributes
// are not supported on it.
Errno xattr_error() noexcept { return errno == ELOOP ? Errno(EOPNOTSUPP) : Errno::last(); }

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
  if (::chmod(ProcFdPath(fd).c_str(), mode) == 0) return ok();
  return xattr_error();
}

Result<void> set_xattr(BorrowedFd fd, const char* name, ByteSpan value, int flags) noexcept {
  if (!g_xattrat.missing()) {
    const XattrArgs args{reinterpret_cast<std::uint64_t>(value.data()),
                         static_cast<std::uint32_t>(value.size()),
                         static_cast<std::uint32_t>(flags)};
    const long done = ::syscall(kSetxattrat, fd.get(), "", AT_EMPTY_PATH, name, &args, sizeof args);
    if (!g_xattrat.note(done)) return check_void(done);
  }
  if (::setxattr(ProcFdPath(fd).c_str(), name, value.data(), value.size(), flags) == 0) return ok();
  return xattr_error();
}

Result<std::size_t> get_xattr(BorrowedFd fd, const char* name, MutableByteSpan out) noexcept {
  if (!g_xattrat.missing()) {
    XattrArgs args{reinterpret_cast<std::uint64_t>(out.data()),
                   static_cast<std::uint32_t>(out.size()), 0};
    const long done = ::syscall(kGetxattrat, fd.get(), "", AT_EMPTY_PATH, name, &args, sizeof args);
    if (!g_xattrat.note(done)) {
      if (done < 0) return Errno::last();
      return static_cast<std::size_t>(done);
    }
  }
  const ssize_t done = ::getxattr(ProcFdPath(fd).c_str(), name, out.data(), out.size());
  if (done < 0) return xattr_error();
  return static_cast<std::size_t>(done);
}

Result<std::size_t> list_xattr(BorrowedFd fd, MutableByteSpan out) noexcept {
  if (!g_xattrat.missing()) {
    const long done =
        ::syscall(kListxattrat, fd.get(), "", AT_EMPTY_PATH, out.data(), out.size());
    if (!g_xattrat.note(done)) {
      if (done < 0) return Errno::last();
      return static_cast<std::size_t>(done);
    }
  }
  const ssize_t done =
      ::listxattr(ProcFdPath(fd).c_str(), reinterpret_cast<char*>(out.data()), out.size());
  if (done < 0) return xattr_error();
  return static_cast<std::size_t>(done);
}

Result<void> remove_xattr(BorrowedFd fd, const char* name) noexcept {
  if (!g_xattrat.missing()) {
    const long done = ::syscall(kRemovexattrat, fd.get(), "", AT_EMPTY_PATH, name);
    if (!g_xattrat.note(done)) return check_void(done);
  }
  if (::removexattr(ProcFdPath(fd).c_str(), name) == 0) return ok();
  return xattr_error();
}

ProcFdPath::ProcFdPath(BorrowedFd fd) noexcept : text_{} {
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
