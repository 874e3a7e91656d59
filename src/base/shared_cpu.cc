// SPDX-License-Identifier: Apache-2.0
#include "base/shared_cpu.h"

#include <algorithm>
#include <atomic>
#include <iterator>

#include "base/cpu_list.h"

namespace passthroughfs {
namespace {

// Of the process: with several mounts in it the last word counts, which costs time at the worst.
std::atomic<int> g_shared{-1};

}  // namespace

void set_shared_cpu(int cpu) noexcept { g_shared.store(cpu, std::memory_order_relaxed); }
int shared_cpu() noexcept { return g_shared.load(std::memory_order_relaxed); }

KeepingAway::KeepingAway() : all_(usable_cpus()) { others_.reserve(all_.size()); }

void KeepingAway::look() noexcept {
  const int shared = shared_cpu();
  if (shared == kept_away_from_) return;
  kept_away_from_ = shared;
  others_.clear();
  std::copy_if(all_.begin(), all_.end(), std::back_inserter(others_),
               [shared](int cpu) { return cpu != shared; });
  // With no other CPU it stays where it is.
  (void)bind_to(0, others_);
}

}  // namespace passthroughfs
