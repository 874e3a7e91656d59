// SPDX-License-Identifier: Apache-2.0
//
// Processes as a guardian makes servers: what one leaves behind when it dies is what the next one
// finds.
#pragma once

#include <sys/types.h>

#include <functional>
#include <set>
#include <string>

namespace passthroughfs::test {

// Starts a process that shares this one's descriptors and has a copy of its memory, except for
// what is mapped as shared. It ends with what `body` returns; an exception ends it with 99. For
// callers that have no other threads.
pid_t start_sharing(const std::function<int()>& body);
// Waits for its end: "exit 0", "signal 9".
std::string end_of(pid_t process);
// Both.
std::string run_sharing(const std::function<int()>& body);

// Ends this process as a crash does.
[[noreturn]] void die() noexcept;

std::set<int> descriptor_numbers();
// Closes all others.
void close_all_but(const std::set<int>& kept);

}  // namespace passthroughfs::test
