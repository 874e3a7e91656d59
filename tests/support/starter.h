// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace passthroughfs::test {

// Between fork and exec of a daemon: nothing on stdin, the rest to the end of a file.
void take_daemon_streams(const std::string& log_file);

// Starts the daemon of a mount that nobody serves. A process that has files of the mount open
// cannot do so itself: its child would close them, and wait for an answer. So this is another
// process, made when there are none yet. Not thread-safe.
class Starter {
 public:
  Starter(std::vector<std::string> arguments, std::vector<std::string> environment,
          std::string log_file);
  // Ends the process; what it has started goes on.
  ~Starter();
  Starter(const Starter&) = delete;
  Starter& operator=(const Starter&) = delete;

  // With these descriptors as 3 and so on, and their names, as sd_listen_fds_with_names(3) has it.
  // The new process is a child of the caller. -1: there is none.
  pid_t start(const std::vector<std::pair<std::string, int>>& kept);

 private:
  UniqueFd socket_;
  pid_t process_ = -1;
};

}  // namespace passthroughfs::test
