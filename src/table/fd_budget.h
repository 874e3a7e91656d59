// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace passthroughfs {

// How many descriptors inodes may hold, so that opens always find one. Thread-safe.
class FdBudget {
 public:
  // Of `limit` (RLIMIT_NOFILE) a quarter, at least 64, stays for opens, locks and ourselves.
  explicit FdBudget(std::uint64_t limit) noexcept;

  void add() noexcept { held_.fetch_add(1, std::memory_order_relaxed); }
  void remove() noexcept { held_.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t held() const noexcept {
    return held_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t budget() const noexcept { return budget_; }
  [[nodiscard]] std::uint64_t limit() const noexcept { return limit_; }
  [[nodiscard]] bool exceeded() const noexcept { return held() > budget_; }

 private:
  const std::uint64_t limit_;
  const std::uint64_t budget_;
  std::atomic<std::uint64_t> held_{0};
};

}  // namespace passthroughfs
