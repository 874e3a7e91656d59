// SPDX-License-Identifier: Apache-2.0
#include "source/write_probe.h"

#include <fcntl.h>
#include <unistd.h>

namespace passthroughfs {

bool may_be_written(const SourceTree& source, BorrowedFd fd) noexcept {
  auto file = source.reopen(fd, O_RDONLY | O_NONBLOCK | O_NOATIME);
  if (!file) return true;
  // Whoever opens for writing while the lease lasts makes the kernel send SIGIO, which ends a
  // process by default. This thread gets it, where it stays blocked.
  const f_owner_ex receiver{F_OWNER_TID, ::gettid()};
  if (::fcntl(file->get(), F_SETOWN_EX, &receiver) != 0) return true;
  // Let go at once: that opener waits for it.
  if (::fcntl(file->get(), F_SETLEASE, F_RDLCK) != 0) return true;
  (void)::fcntl(file->get(), F_SETLEASE, F_UNLCK);
  return false;
}

}  // namespace passthroughfs
