// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

namespace passthroughfs::test {

// SIGSTOP, and waits until it has come to all threads: until then one of them may serve another
// request. The test has failed if it does not come to one, as to a thread that waits for a disk.
void stop_process(pid_t process);

}  // namespace passthroughfs::test
