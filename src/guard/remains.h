// SPDX-License-Identifier: Apache-2.0
//
// What may be left of the processes of a mount, for one that is to go on with it: two servers on
// one connection would each take the other's requests, and one table for its own.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <vector>

#include "base/fd.h"

namespace passthroughfs {

// A server that was killed while it told the kernel to drop pages: that waits for a client's
// request, which waits for the next server, so it does not end before that is there. All that it
// will ever do is to end (or to write its core), and what it has mapped and open is let alone.
// False also while a thread of it does anything else, above all waits for the disk: that may still
// write. Opens descriptors and closes them. Without memory it says false.
[[nodiscard]] bool only_waits_for_successor(pid_t process) noexcept;

// Processes that have the memory file mapped, as all have that a guardian made: by /proc, because
// numbers of processes are used again. A process that is about to end counts as long as one of its
// threads can still do anything; one that only waits for its successor does not. std::bad_alloc.
[[nodiscard]] std::vector<pid_t> processes_that_map(BorrowedFd memory);

// SIGKILL for all of them, until there are none. False: some are there still, waiting for the disk.
[[nodiscard]] bool end_processes_that_map(BorrowedFd memory, std::chrono::seconds most);

}  // namespace passthroughfs
