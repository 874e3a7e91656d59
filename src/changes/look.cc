// SPDX-License-Identifier: Apache-2.0
#include "changes/look.h"

#include <fcntl.h>

#include <string_view>
#include <vector>

#include "source/device_map.h"

namespace passthroughfs {

ObjectKey key_of(const struct statx& st) noexcept {
  return {device_number(st.stx_dev_major, st.stx_dev_minor), st.stx_ino};
}

std::optional<struct statx> look_at(BorrowedFd directory, const char* name) noexcept {
  struct statx st;
  if (::statx(directory.get(), name,
              AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
              STATX_BASIC_STATS | STATX_BTIME, &st) != 0) {
    return std::nullopt;
  }
  return st;
}

Result<UniqueFd> open_quietly(const SourceTree& source, BorrowedFd fd, int flags) noexcept {
  auto file = source.reopen(fd, O_RDONLY | O_NOATIME | flags);
  if (!file && file.error() == EPERM) file = source.reopen(fd, O_RDONLY | flags);
  return file;
}

Result<void> for_each_name(BorrowedFd directory,
                           const std::function<void(const sys::RawDirent&)>& visit) {
  std::vector<std::byte> buffer(64U << 10);
  for (;;) {
    const std::size_t used = TRY(sys::read_directory(directory, buffer));
    if (used == 0) return ok();
    for (std::size_t at = 0; at < used;) {
      const auto* entry = reinterpret_cast<const sys::RawDirent*>(buffer.data() + at);
      at += entry->reclen;
      const std::string_view name = entry->name;
      if (name != "." && name != "..") visit(*entry);
    }
  }
}

}  // namespace passthroughfs
