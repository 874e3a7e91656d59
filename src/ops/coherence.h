// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace passthroughfs {

// How long the kernel may believe what it was told. Seconds.
struct Validity {
  std::uint64_t entry = 1;
  std::uint64_t attributes = 1;
  std::uint64_t negative = 0;  // 0: absence is not cached
};

// Until it is told otherwise.
inline constexpr std::uint64_t kForEver = 10ULL * 365 * 24 * 3600;

// Whether the kernel is told of what others change in the source (cache=coherent): what operations
// need to know of session/source_watch.h. Thread-safe.
//
// An operation that makes the kernel know an inode asks heard() before it asks the source, and
// again when the inode is in the table. If that has changed, a change may have been told of when
// nobody knew the inode, so what the source said before is not to be believed for long.
class Coherence {
 public:
  [[nodiscard]] std::uint64_t heard() const noexcept { return heard_.load(); }
  // Before it is looked up whom a change concerns.
  void hear() noexcept { heard_.fetch_add(1); }

  // From now on changes on this device are told; of names only if `names`.
  void begin(std::uint64_t device, bool names) noexcept {
    names_.store(names);
    device_.store(device);
  }
  void end() noexcept { device_.store(kNone); }

  [[nodiscard]] bool covers(std::uint64_t device) const noexcept {
    return device_.load(std::memory_order_relaxed) == device;
  }
  [[nodiscard]] bool covers_names(std::uint64_t device) const noexcept {
    return covers(device) && names_.load(std::memory_order_relaxed);
  }

 private:
  static constexpr std::uint64_t kNone = ~0ULL;

  std::atomic<std::uint64_t> device_{kNone};
  std::atomic<bool> names_{false};
  std::atomic<std::uint64_t> heard_{0};
};

}  // namespace passthroughfs
