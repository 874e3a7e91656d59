// SPDX-License-Identifier: Apache-2.0
//
// What the guardian needs of the kernel.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace passthroughfs {

// The signals that end the mount or make it reopen its log, and SIGCHLD, for a process with one
// thread: they are blocked but while wait() waits, so none is missed. One object per process.
class WatchedSignals {
 public:
  WatchedSignals() noexcept;

  struct Came {
    bool stop = false;    // SIGTERM, SIGINT
    bool reopen = false;  // SIGHUP
  };
  // Until a signal comes (SIGCHLD among them), `fd` is readable (-1: none), or the time is over
  // (0: never).
  Came wait(int fd, std::uint64_t most_ns) const noexcept;
};

// As fork(), but with the descriptors shared. The first thread's own number, which the C library
// keeps, is set as fork() sets it where the kernel tells its address; where it does not, that
// thread should do nothing that would need it. `noted`, if any, gets the child's number before the
// child runs. -1 and errno.
[[nodiscard]] pid_t clone_with_descriptors(std::atomic<pid_t>* noted = nullptr) noexcept;

// Whether a process is there and not about to end: told without a descriptor.
[[nodiscard]] bool has_memory(pid_t process) noexcept;

// Of this process, sorted. Errors: those of reading /proc/self/fd. std::bad_alloc.
[[nodiscard]] Result<std::vector<int>> open_descriptors();

// "was killed: Aborted", "ended with 1", of a status as waitpid gives it.
[[nodiscard]] std::string end_of(int status);

// Who is left when memory is short: "-1000" for never, as the kernel writes it; "" if it cannot be
// had. Less than it was needs CAP_SYS_RESOURCE.
[[nodiscard]] std::string oom_score();
void set_oom_score(std::string_view score) noexcept;

}  // namespace passthroughfs
