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
constexpr long kGetxattrat = 464;
constexpr long kListxattrat = 465;

struct XattrArgs {  // the kernel's xattr_args
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

Probe g_fchmodat2;
Probe g_xattrat;

// "/proc/self/fd/N/name"; "" if the name is longer than any that there is.
class ProcPathBelow {
 public:
  ProcPathBelow(BorrowedFd directory, const char* name) noexcept {
    const ProcFdPath above(directory);
    const std::size_t head = std::strlen(above.c_str());
    const std::size_t tail = std::strlen(name);
    if (head + 1 + tail >= text_.size()) return;
    std::memcpy(text_.data(), above.c_str(), head);
    text_[head] = '/';
    std::memcpy(text_.data() + head + 1, name, tail);
  }
  [[nodiscard]] const char* c_str() const noexcept { return text_.data(); }

 private:
  std::array<char, 320> text_{};
};

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

Result<std::size_t> get_xattr_at(BorrowedFd directory, const char* name, const char* attribute,
                                 MutableByteSpan out) noexcept {
  if (!g_xattrat.missing()) {
    const XattrArgs args{reinterpret_cast<std::uintptr_t>(out.data()),
                         static_cast<std::uint32_t>(out.size()), 0};
    const long done = ::syscall(kGetxattrat, directory.get(), name, AT_SYMLINK_NOFOLLOW, attribute,
                                &args, sizeof args);
    if (!g_xattrat.note(done)) {
      if (done < 0) return Errno::last();
      return static_cast<std::size_t>(done);
    }
  }
  const ssize_t done =
      ::lgetxattr(ProcPathBelow(directory, name).c_str(), attribute, out.data(), out.size());
  if (done < 0) return Errno::last();
  return static_cast<std::size_t>(done);
}

Result<std::size_t> list_xattr_at(BorrowedFd directory, const char* name,
                                  MutableByteSpan out) noexcept {
  char* const names = reinterpret_cast<char*>(out.data());
  if (!g_xattrat.missing()) {
    const long done =
        ::syscall(kListxattrat, directory.get(), name, AT_SYMLINK_NOFOLLOW, names, out.size());
    if (!g_xattrat.note(done)) {
      if (done < 0) return Errno::last();
      return static_cast<std::size_t>(done);
    }
  }
  const ssize_t done = ::llistxattr(ProcPathBelow(directory, name).c_str(), names, out.size());
  if (done < 0) return Errno::last();
  return static_cast<std::size_t>(done);
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
