// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace passthroughfs {

// Places at which a test lets the serving process die (PFS_FAULT=NAME[:N][*] in its environment, in
// builds with PFS_FAULT_POINTS; else they cost nothing): the Nth time that it comes by, by SIGKILL.
// With '*' so does each later process.
enum class Fault : std::uint8_t {
  none,
  intent,   // before an operation that must not run twice
  done,     // after it, before its result is noted
  noted,    // its result is noted, nothing is answered
  replied,  // answered
  lookup,   // in a change of a lookup count
  forget,   // in the middle of FORGET
  open,     // a handle was made, and no answer is noted
  release,  // in the middle of RELEASE
  recover,  // while another one's work is taken over
  upgrade,  // a server of a program that has just taken over from another
};

#ifdef PFS_FAULT_POINTS
void fault_point(Fault here) noexcept;
// A process takes over: what is for each process may come again.
void renew_faults() noexcept;
#else
inline void fault_point(Fault) noexcept {}
inline void renew_faults() noexcept {}
#endif

}  // namespace passthroughfs
