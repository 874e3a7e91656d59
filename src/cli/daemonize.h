// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "base/fd.h"

namespace passthroughfs {

// Puts the serving process into the background. The process that the user started waits for one
// word from it, so that its exit code tells whether the mount serves.
class Daemonizer {
 public:
  // Closes every descriptor but the standard streams: whoever started the daemon may wait for the
  // end of a pipe that it never knew of.
  static void close_inherited() noexcept;

  // Forks, before threads exist; returns in the child only. The parent ends with the child's
  // verdict: 0 after ready(), or the given code after failed(), which prints the line on stderr.
  // Returns false, in the only process, when that is impossible.
  bool fork_away();

  // In the child: the mount serves. Lets the parent go, and lets go of everything that ties this
  // process to where it was started: working directory, terminal, standard streams.
  // Without fork_away(): only the working directory.
  void ready();

  // In the child: the parent prints the line and ends with the code.
  void failed(std::string_view line, int code);

 private:
  UniqueFd parent_;  // the writing end of a pipe; invalid in the foreground
};

}  // namespace passthroughfs
