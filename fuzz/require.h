// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>

// What must hold whatever the input is: else the fuzzer has found something.
inline void require(bool condition) {
  if (!condition) std::abort();
}
