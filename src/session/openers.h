// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <unordered_map>

namespace passthroughfs {

// Who opened a handle, as far as that can still be told. The kernel names the thread, and its
// number may be another's by now. Asks /proc once per thread; make one for each look at the table.
class Openers {
 public:
  // The process of the thread that had this number at `opened_ns` (CLOCK_BOOTTIME), if it still
  // lives; else the number as it is.
  std::uint32_t process_of(std::uint32_t thread, std::int64_t opened_ns);

 private:
  struct Task {
    std::uint32_t process = 0;
    std::int64_t started_ns = INT64_MAX;  // CLOCK_BOOTTIME, rounded down to a clock tick
  };
  static Task read(std::uint32_t thread);

  std::unordered_map<std::uint32_t, Task> seen_;
};

}  // namespace passthroughfs
