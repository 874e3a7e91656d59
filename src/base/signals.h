// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <thread>

#include "base/fd.h"

namespace passthroughfs {

// Blocks SIGTERM, SIGINT and SIGHUP in this thread and those that it starts, and ignores SIGPIPE.
// Call it before anything is forked or any thread exists.
void block_signals() noexcept;

// A thread that receives the blocked signals and calls back, so that the callbacks may do anything.
class SignalThread {
 public:
  // `stop` is called for SIGTERM and SIGINT, and for SIGHUP if `reopen` is empty; `reopen` for
  // SIGHUP. One at a time. A second stop signal during `stop` is taken by the next call.
  SignalThread(std::function<void()> stop, std::function<void()> reopen);
  // Ends the thread, after the callback that runs.
  ~SignalThread();
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

 private:
  void run();

  std::function<void()> stop_;
  std::function<void()> reopen_;
  UniqueFd signals_;
  UniqueFd end_;
  std::thread thread_;
};

}  // namespace passthroughfs
