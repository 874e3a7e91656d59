// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <type_traits>

#include "base/regions.h"
#include "base/result.h"

namespace passthroughfs {

// A list that only grows, in memory that outlives the process: whoever takes over finds every entry
// that was appended, and complete. Not thread-safe.
template <typename Entry>
requires std::is_trivially_copyable_v<Entry>
class RegionList {
 public:
  // Empty, or with what another program has appended. Errors: those of Regions::make.
  static Result<RegionList> create(const char* name, std::uint32_t capacity, Regions& regions) {
    return RegionList(TRY(regions.make(name, kHeaderBytes + capacity * sizeof(Entry))));
  }

  // False: it is full.
  bool append(const Entry& entry) noexcept {
    const std::uint32_t at = count().load(std::memory_order_relaxed);
    if (kHeaderBytes + (at + std::size_t{1}) * sizeof(Entry) > region_.size()) return false;
    ::new (first() + at) Entry(entry);
    count().store(at + 1, std::memory_order_release);
    return true;
  }
  void clear() noexcept { count().store(0, std::memory_order_release); }

  [[nodiscard]] std::span<const Entry> entries() const noexcept {
    const std::size_t room = (region_.size() - kHeaderBytes) / sizeof(Entry);
    return {first(), std::min<std::size_t>(count().load(std::memory_order_acquire), room)};
  }

 private:
  using Count = std::atomic<std::uint32_t>;
  static constexpr std::size_t kHeaderBytes = 64;
  static_assert(alignof(Entry) <= kHeaderBytes && sizeof(Count) <= kHeaderBytes);

  explicit RegionList(Region region) noexcept : region_(std::move(region)) {}
  [[nodiscard]] Count& count() const noexcept {
    return *std::launder(reinterpret_cast<Count*>(region_.data()));
  }
  [[nodiscard]] Entry* first() const noexcept {
    return std::launder(reinterpret_cast<Entry*>(region_.data() + kHeaderBytes));
  }

  Region region_;
};

}  // namespace passthroughfs
