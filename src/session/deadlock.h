// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

namespace passthroughfs {

// Whether the threads of this process, but for `me`, do nothing but wait for each other and for
// somebody to ask something: none runs, and none is in a call that the source or a disk has to
// answer. Of a process that has something to do that is a deadlock. Asks /proc about each thread;
// false if that does not tell.
[[nodiscard]] bool only_waits_for_itself(pid_t me) noexcept;

}  // namespace passthroughfs
