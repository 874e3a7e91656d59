// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "base/mutex.h"
#include "base/region_list.h"
#include "base/result.h"

namespace passthroughfs {

// One number per device, as statx gives it.
[[nodiscard]] constexpr std::uint64_t device_number(std::uint32_t major,
                                                    std::uint32_t minor) noexcept {
  return (static_cast<std::uint64_t>(major) << 32) | minor;
}

// A FUSE mount shows one st_dev for everything below it, so file systems mounted inside the source
// would show colliding inode numbers, and find, tar and rsync would take different files for hard
// links. This maps (device, inode number) to one number: the source's own device as it is, each
// further one with its own mark in the top 16 bits. After 32767 further devices marks repeat, but
// never as the source's own. Thread-safe.
class DeviceMap {
 public:
  explicit DeviceMap(std::uint64_t root_device) noexcept : root_device_(root_device) {}

  [[nodiscard]] std::uint64_t shown_ino(std::uint64_t device, std::uint64_t ino) noexcept {
    return device == root_device_ ? ino : foreign_ino(device, ino);
  }

  // Makes the marks outlive the process, in memory that a successor inherits: programs must not see
  // other numbers afterwards. Errors: those of Regions::make.
  Result<void> keep(Regions& regions) PFS_EXCLUDES(mutex_);
  // For a process that takes over, before any other thread exists. std::bad_alloc.
  void recover() PFS_EXCLUDES(mutex_);

 private:
  std::uint64_t foreign_ino(std::uint64_t device, std::uint64_t ino) noexcept;

  // As many as there are different marks.
  static constexpr std::uint32_t kMostKept = 32767;
  struct Kept {
    std::uint64_t device, mark;
  };

  const std::uint64_t root_device_;
  Mutex mutex_;
  std::optional<RegionList<Kept>> kept_ PFS_GUARDED_BY(mutex_);
  std::unordered_map<std::uint64_t, std::uint64_t> marks_ PFS_GUARDED_BY(mutex_);
};

}  // namespace passthroughfs
