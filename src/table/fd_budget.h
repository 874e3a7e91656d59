// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace passthroughfs {

// How many descriptors inodes may hold, so that opens always find one. Thread-safe.
class FdBudget {
 public:
  // Of `limit` (RLIMIT_NOFILE) a quarter, at least 64, stays for opens, locks and ourselves; but
  // inodes always get 16.
  explicit FdBudget(std::uint64_t limit) noexcept;

  void add() noexcept { held_.fetch_add(1, std::memory_order_relaxed); }
  void remove() noexcept { held_.fetch_sub(1, std::memory_order_relaxed); }
  void reset() noexcept { held_.store(0, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t held() const noexcept {
    return held_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t budget() const noexcept { return budget_; }
  [[nodiscard]] std::uint64_t limit() const noexcept { return limit_; }
  [[nodiscard]] bool exceeded() const noexcept { return held() > budget_; }
  // Inodes have half of the reserve as well: there can be no more.
  [[nodiscard]] bool exhausted() const noexcept {
    return held() > budget_ + (limit_ > budget_ ? (limit_ - budget_) / 2 : 0);
  }

 private:
  const std::uint64_t limit_;
  const std::uint64_t budget_;
  std::atomic<std::uint64_t> held_{0};
};

}  // namespace passthroughfs
