// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "base/handover.h"
#include "base/region.h"
#include "base/result.h"

namespace passthroughfs {

// The memory of one mount that outlives its processes: made anew, or found again by a program that
// takes over from another (Handover). Not thread-safe.
class Regions {
 public:
  // For a new mount.
  Regions() = default;
  // For one that goes on. `from` must outlive the calls of make().
  explicit Regions(const Handover& from) noexcept : from_(&from) {}

  // Each name once. Errors: those of Region::create; EUCLEAN: nothing of this name and size was
  // handed over.
  Result<Region> make(const char* name, std::size_t bytes);
  // Whether regions hold what another program has left in them.
  [[nodiscard]] bool continued() const noexcept { return from_ != nullptr; }

  void leave_to(Handover& handover) const;

 private:
  const Handover* from_ = nullptr;
  std::map<std::string, int> made_;
};

}  // namespace passthroughfs
