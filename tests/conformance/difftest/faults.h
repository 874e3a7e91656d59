// SPDX-License-Identifier: Apache-2.0
//
// Mistakes that the right side can be told to make, so that a test can see that they are found.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace passthroughfs::difftest {

enum class Fault : std::uint8_t {
  kNone,
  kDropAppend,   // open forgets O_APPEND
  kDropTrunc,    // open forgets O_TRUNC
  kWrongErrno,   // rmdir of a directory with entries says EEXIST
  kLostChmod,    // fchmod does nothing
  kPathStat,     // fstat after unlink says ENOENT
  kTornWrite,    // a write of more than a page loses its last byte, and says nothing
  kUmask,        // mkdir ignores the umask
  kLostXattr,    // setxattr with a value over 64 bytes stores nothing
  kFrozenTimes,  // a write does not move the times
};

struct FaultName {
  Fault fault;
  const char* name;
};
inline constexpr std::array kFaultNames{
    FaultName{Fault::kNone, "none"},
    FaultName{Fault::kDropAppend, "drop-append"},
    FaultName{Fault::kDropTrunc, "drop-trunc"},
    FaultName{Fault::kWrongErrno, "wrong-errno"},
    FaultName{Fault::kLostChmod, "lost-chmod"},
    FaultName{Fault::kPathStat, "path-stat"},
    FaultName{Fault::kTornWrite, "torn-write"},
    FaultName{Fault::kUmask, "umask"},
    FaultName{Fault::kLostXattr, "lost-xattr"},
    FaultName{Fault::kFrozenTimes, "frozen-times"},
};

inline std::optional<Fault> fault_of_name(std::string_view name) {
  for (const FaultName& row : kFaultNames) {
    if (name == row.name) return row.fault;
  }
  return std::nullopt;
}

}  // namespace passthroughfs::difftest
