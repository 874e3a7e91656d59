// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

namespace passthroughfs {

// The CPU that a serving thread and its one client share, taking turns.
//
// The serving thread is SCHED_IDLE then, and the kernel takes a CPU with nothing but such threads
// for a free one: it likes to wake up there what works in the background. That makes both wait
// until it has done, while other CPUs are halted. So a thread of ours that works for milliseconds
// keeps away from that CPU.

// Thread-safe. -1: there is none, or no CPU is free for work in the background.
void set_shared_cpu(int cpu) noexcept;
[[nodiscard]] int shared_cpu() noexcept;

// Of one thread that works in the background, by that thread.
class KeepingAway {
 public:
  // Where the calling thread may run now, it may run later, but for the shared CPU. std::bad_alloc.
  KeepingAway();
  // To be called before the work begins. A system call only when the answer has changed.
  void look() noexcept;

 private:
  const std::vector<int> all_;
  std::vector<int> others_;  // has room for all
  int kept_away_from_ = -1;
};

}  // namespace passthroughfs
