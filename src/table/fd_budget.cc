// SPDX-License-Identifier: Apache-2.0
#include "table/fd_budget.h"

#include <algorithm>

namespace passthroughfs {
namespace {

std::uint64_t reserve_of(std::uint64_t limit) {
  return std::max<std::uint64_t>(64, limit / 4);
}

}  // namespace

FdBudget::FdBudget(std::uint64_t limit) noexcept
    : limit_(limit), budget_(limit > reserve_of(limit) ? limit - reserve_of(limit) : 16) {}

}  // namespace passthroughfs
