// SPDX-License-Identifier: Apache-2.0
#include "base/regions.h"

#include <cerrno>

namespace passthroughfs {

Result<Region> Regions::make(const char* name, std::size_t bytes) {
  if (from_ == nullptr) {
    Region region = TRY(Region::create(name, bytes));
    made_.emplace(name, region.memory().get());
    return region;
  }
  const auto fd = from_->descriptor(name);
  if (!fd) return Err(EUCLEAN);
  Region region = TRY(Region::adopt(UniqueFd(*fd), bytes));
  made_.emplace(name, region.memory().get());
  return region;
}

void Regions::leave_to(Handover& handover) const {
  for (const auto& [name, fd] : made_) handover.put_descriptor(name, fd);
}

}  // namespace passthroughfs
