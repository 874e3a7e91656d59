// SPDX-License-Identifier: Apache-2.0
#include "base/fd.h"

#include <fcntl.h>

namespace passthroughfs {

void UniqueFd::reset(int fd) noexcept {
  if (fd_ >= 0) (void)::close(fd_);  // nobody is left to tell; who cares uses close_checked()
  fd_ = fd;
}

Result<void> UniqueFd::close_checked() noexcept {
  const int fd = release();
  if (fd < 0) return ok();
  return check_void(::close(fd));
}

Result<UniqueFd> duplicate(BorrowedFd fd) noexcept {
  return own(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
}

}  // namespace passthroughfs
