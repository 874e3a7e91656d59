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

// Processes that have the memory file mapped, as all have that a guardian made: by /proc, because
// numbers of processes are used again. A process that is about to end counts as long as one of its
// threads can still do anything. Not one that was killed while it told the kernel to drop pages: it
// ends when the next server has answered the request that holds these. std::bad_alloc.
[[nodiscard]] std::vector<pid_t> processes_that_map(BorrowedFd memory);

// SIGKILL for all of them, until there are none. False: some are there still, waiting for the disk.
[[nodiscard]] bool end_processes_that_map(BorrowedFd memory, std::chrono::seconds most);

}  // namespace passthroughfs
