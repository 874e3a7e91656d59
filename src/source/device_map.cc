// SPDX-License-Identifier: Apache-2.0
#include "source/device_map.h"

#include <new>
#include <utility>

namespace passthroughfs {

std::uint64_t DeviceMap::foreign_ino(std::uint64_t device, std::uint64_t ino) noexcept {
  constexpr unsigned kMarkShift = 48;
  constexpr std::uint64_t kLow = (1ULL << kMarkShift) - 1;
  // Marks start at 0x8000: a source whose own numbers reach there would need 2^63 inodes.
  constexpr std::uint64_t kMarks = 0x8000;
  std::uint64_t mark = 2 * kMarks - 1;  // of nobody else, for when there is no memory for another
  try {
    MutexLock lock(mutex_);
    const auto [at, added] = marks_.try_emplace(device, kMarks + marks_.size() % (kMarks - 1));
    mark = at->second;
    // Before anybody sees it.
    if (added && kept_) (void)kept_->append({device, mark});
  } catch (const std::bad_alloc&) {
  }
  // Numbers above 48 bits (overlayfs with xino, some network file systems) are folded rather than
  // cut, so that two of them meet only by chance.
  return (mark << kMarkShift) | ((ino ^ (ino >> kMarkShift) * 0x9e3779b1ULL) & kLow);
}

Result<void> DeviceMap::keep(Regions& regions) {
  auto list = TRY(RegionList<Kept>::create("passthroughfs-devices", kMostKept, regions));
  MutexLock lock(mutex_);
  for (const auto& [device, mark] : marks_) (void)list.append({device, mark});
  kept_.emplace(std::move(list));
  return ok();
}

void DeviceMap::recover() {
  MutexLock lock(mutex_);
  if (!kept_) return;
  for (const Kept& kept : kept_->entries()) marks_.try_emplace(kept.device, kept.mark);
}

}  // namespace passthroughfs
