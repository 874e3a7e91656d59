// SPDX-License-Identifier: Apache-2.0
//
// From a sequence that fails to the shortest one that fails in the same way.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <vector>

#include "op.h"

namespace passthroughfs::difftest {

// True when the sequence fails in the way that is being looked for. Runs in fresh directories, so
// that one attempt does not depend on another.
using Fails = std::function<bool(const std::vector<Op>&)>;

// Delta debugging: leaves calls out, in ever smaller groups, then makes the operands of those that
// are left simpler. Stops at the deadline with what it has. `ops` fails.
std::vector<Op> shrink(std::vector<Op> ops, const Fails& fails,
                       std::chrono::steady_clock::time_point deadline);

}  // namespace passthroughfs::difftest
