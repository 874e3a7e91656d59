// SPDX-License-Identifier: Apache-2.0
#include "support/wait_until.h"

#include <cstdlib>
#include <ctime>
#include <thread>

namespace passthroughfs::test {

std::chrono::milliseconds patience(std::chrono::milliseconds base) {
  const char* slow = std::getenv("PFS_TEST_SLOW");
  const int factor = slow != nullptr ? std::atoi(slow) : 1;
  return base * (factor > 1 ? factor : 1);
}

bool wait_until(std::chrono::milliseconds deadline, const std::function<bool()>& predicate) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!predicate()) {
    if (std::chrono::steady_clock::now() >= end) {
      return predicate();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

void next_timestamp() {
  timespec start{};
  clock_gettime(CLOCK_REALTIME_COARSE, &start);
  wait_until([&] {
    timespec now{};
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return now.tv_sec != start.tv_sec || now.tv_nsec != start.tv_nsec;
  });
}

}  // namespace passthroughfs::test
