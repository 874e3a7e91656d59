// SPDX-License-Identifier: Apache-2.0
#include "ops/file_times.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "source/sys.h"

namespace passthroughfs {

KeptModificationTime::KeptModificationTime(FileTimes& times, NodeId node, BorrowedFd fd) noexcept
    : lock_(times.of(node)), fd_(fd) {
  auto st = sys::stat_at(fd, "", STATX_MTIME);
  if (st) mtime_ = timespec{st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec};
}

KeptModificationTime::~KeptModificationTime() {
  if (!mtime_) return;
  const timespec times[2] = {{0, UTIME_OMIT}, *mtime_};
  (void)::futimens(fd_.get(), times);
}

}  // namespace passthroughfs
