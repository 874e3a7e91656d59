// SPDX-License-Identifier: Apache-2.0
#include "source/device_map.h"

namespace passthroughfs {

std::uint64_t DeviceMap::foreign_ino(std::uint64_t device, std::uint64_t ino) noexcept {
  constexpr unsigned kMarkShift = 48;
  constexpr std::uint64_t kLow = (1ULL << kMarkShift) - 1;
  std::uint64_t mark = 0;
  {
    MutexLock lock(mutex_);
    // Marks start at 0x8000: a source whose own numbers reach there would need 2^63 inodes.
    mark = marks_.try_emplace(device, 0x8000 + marks_.size()).first->second;
  }
  // Numbers above 48 bits (overlayfs with xino, some network file systems) are folded rather than
  // cut, so that two of them meet only by chance.
  return ((mark & 0xffff) << kMarkShift) | ((ino ^ (ino >> kMarkShift) * 0x9e3779b1ULL) & kLow);
}

}  // namespace passthroughfs
