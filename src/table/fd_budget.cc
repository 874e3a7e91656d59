// SPDX-License-Identifier: Apache-2.0
#include "table/fd_budget.h"

#include <algorithm>

namespace passthroughfs {
namespace {

constexpr std::uint64_t kLeastReserve = 64;
constexpr std::uint64_t kLeastBudget = 16;

std::uint64_t budget_of(std::uint64_t limit) {
  const std::uint64_t reserve = std::max(kLeastReserve, limit / 4);
  return limit > reserve + kLeastBudget ? limit - reserve : kLeastBudget;
}

}  // namespace

FdBudget::FdBudget(std::uint64_t limit) noexcept : limit_(limit), budget_(budget_of(limit)) {}

}  // namespace passthroughfs
