// SPDX-License-Identifier: Apache-2.0
#include "ops/mapped.h"

#include "source/write_probe.h"

namespace passthroughfs {

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
  const std::uint64_t seconds = state.validity_on(inode->key.device).attributes;
  if (inode->mappable_opens.load(std::memory_order_relaxed) != 0) return 0;
  if (inode->maybe_mapped.load(std::memory_order_relaxed) == 0) return seconds;
  if (seconds == 0 || may_be_written(state.source, inode.fd())) return 0;
  inode->maybe_mapped.store(0);
  // An open may have come between; its close sets the mark again.
  return inode->mappable_opens.load() != 0 ? 0 : seconds;
}

}  // namespace passthroughfs
