// SPDX-License-Identifier: Apache-2.0
#include "ops/mapped.h"

#include <fcntl.h>
#include <unistd.h>

namespace passthroughfs {
namespace {

// Whether anybody has the file open for writing or mapped so. Only an answer of the source counts:
// where it has no leases the file stays suspect.
bool may_be_written(MountState& state, const InodeRef& inode) noexcept {
  auto fd = state.source.reopen(inode.fd(), O_RDONLY | O_NONBLOCK | O_NOATIME);
  if (!fd) return true;
  // Whoever opens for writing while the lease lasts makes the kernel send SIGIO, which ends a
  // process by default. This thread gets it, where it stays blocked (WorkerPool::make_fit).
  const f_owner_ex receiver{F_OWNER_TID, ::gettid()};
  if (::fcntl(fd->get(), F_SETOWN_EX, &receiver) != 0) return true;
  // Let go at once: that opener waits for it.
  if (::fcntl(fd->get(), F_SETLEASE, F_RDLCK) != 0) return true;
  (void)::fcntl(fd->get(), F_SETLEASE, F_UNLCK);
  return false;
}

}  // namespace

void begin_mappable(MountState& state, const InodeRef& inode) noexcept {
  const bool first = inode->mappable_opens.fetch_add(1) == 0;
  if (first && state.invalidations != nullptr && state.validity.attributes != 0) {
    state.invalidations->drop_attributes(inode.id());
  }
}

void end_mappable(const InodeRef& inode) noexcept {
  inode->maybe_mapped.store(1);
  inode->mappable_opens.fetch_sub(1);
}

std::uint64_t attribute_validity(MountState& state, const InodeRef& inode) noexcept {
  if (inode->mappable_opens.load(std::memory_order_relaxed) != 0) return 0;
  if (inode->maybe_mapped.load(std::memory_order_relaxed) == 0) return state.validity.attributes;
  if (state.validity.attributes == 0 || may_be_written(state, inode)) return 0;
  inode->maybe_mapped.store(0);
  // An open may have come between; its close sets the mark again.
  return inode->mappable_opens.load() != 0 ? 0 : state.validity.attributes;
}

}  // namespace passthroughfs
