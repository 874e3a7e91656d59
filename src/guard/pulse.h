// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <cstdint>

namespace passthroughfs {

// For how long another process has given no sign of life, as seen by one that looks from time to
// time and may itself be stopped for long (a debugger, a frozen cgroup, a virtual machine that is
// moved): what it did not see does not count.
class Pulse {
 public:
  // `step`: the longest time between two looks that counts in full.
  explicit Pulse(std::uint64_t step) noexcept : step_(step) {}

  // `beats`: a number that changes with each sign of life. Gives the silence so far; the units are
  // those of `now`.
  std::uint64_t look(std::uint64_t now, std::uint64_t beats) noexcept {
    if (beats != beats_ || looked_ == 0) {
      beats_ = beats;
      silence_ = 0;
    } else {
      silence_ += std::min(now - looked_, step_);
    }
    looked_ = now;
    return silence_;
  }
  // Another one is looked at from now on.
  void renew() noexcept { looked_ = 0; }

 private:
  std::uint64_t step_;
  std::uint64_t beats_ = 0;
  std::uint64_t looked_ = 0;
  std::uint64_t silence_ = 0;
};

// Of a thread of another process.
enum class Condition {
  ordinary,
  traced,   // a debugger has it: what it does not do is meant
  in_disk,  // in a call that nothing ends, not even SIGKILL ("D")
};
// By /proc; what cannot be read is `ordinary`. Opens and closes a descriptor.
[[nodiscard]] Condition condition_of(pid_t process, pid_t thread) noexcept;

}  // namespace passthroughfs
