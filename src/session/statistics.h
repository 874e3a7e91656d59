// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "base/clock.h"
#include "session/session.h"
#include "wire/opcode.h"

namespace passthroughfs {

// What one thread served. Written by that thread alone, read by any: plain stores of atomics.
class ThreadStatistics {
 public:
  void record(std::uint32_t opcode, bool error, std::uint64_t ns) noexcept {
    if (opcode >= rows_.size()) return;
    Row& row = rows_[opcode];
    bump(row.count, 1);
    if (error) bump(row.errors, 1);
    bump(row.total_ns, ns);
    const auto log2 = static_cast<std::size_t>(std::bit_width(ns | 1) - 1);
    bump(row.latency[log2 < kLatencyBuckets ? log2 : kLatencyBuckets - 1], 1);
  }

  // Adds this thread's numbers to `views`, indexed by opcode.
  void add_to(std::array<OperationView, wire::kOpcodeCount>& views) const noexcept {
    for (std::size_t opcode = 0; opcode < rows_.size(); ++opcode) {
      const Row& row = rows_[opcode];
      OperationView& view = views[opcode];
      view.count += row.count.load(std::memory_order_relaxed);
      view.errors += row.errors.load(std::memory_order_relaxed);
      view.total_ns += row.total_ns.load(std::memory_order_relaxed);
      for (std::size_t i = 0; i < kLatencyBuckets; ++i) {
        view.latency[i] += row.latency[i].load(std::memory_order_relaxed);
      }
    }
  }

 private:
  using Counter = std::atomic<std::uint64_t>;
  struct Row {
    Counter count{0}, errors{0}, total_ns{0};
    std::array<Counter, kLatencyBuckets> latency{};
  };

  static void bump(Counter& counter, std::uint64_t by) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }

  std::array<Row, wire::kOpcodeCount> rows_{};
};

}  // namespace passthroughfs
