// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace passthroughfs {

// How much the tables of a session have room for. Address space, not memory: 8 GiB and 512 MiB for
// the first two.
inline constexpr std::uint32_t kMostInodes = 1U << 26;
inline constexpr std::uint32_t kMostHandles = 1U << 22;
inline constexpr std::uint32_t kMostLockOwners = 1U << 20;
inline constexpr std::uint32_t kMostLedgers = 2100;  // more than there can be threads

}  // namespace passthroughfs
