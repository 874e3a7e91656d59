// SPDX-License-Identifier: Apache-2.0
//
// Waiting for a condition with a deadline: the only way tests in this project wait. A test never
// sleeps for a guessed time.
#pragma once

#include <chrono>
#include <functional>

namespace passthroughfs::test {

// Deadline for anything that should happen at once. Multiplied by $PFS_TEST_SLOW (an integer), so
// that sanitizer builds on a busy machine get more time.
std::chrono::milliseconds patience(std::chrono::milliseconds base = std::chrono::seconds(20));

// Asks `predicate` about every millisecond until it says true (returns true) or the deadline has
// passed (returns false). The predicate is always asked at least once.
bool wait_until(std::chrono::milliseconds deadline, const std::function<bool()>& predicate);
inline bool wait_until(const std::function<bool()>& predicate) {
  return wait_until(patience(), predicate);
}

// Returns once the clock that file systems take their timestamps from has moved on, so that a
// change made now gets another time than one made before.
void next_timestamp();

}  // namespace passthroughfs::test
