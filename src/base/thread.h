// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>
#include <thread>
#include <utility>

namespace passthroughfs {

// The name of the thread that tells the kernel to drop pages: other processes look for it.
inline constexpr const char* kNotifierName = "pfs-notifier";

// Starts a thread that no signal sent to the process reaches: those are for the program's own
// threads. The caller's mask is as before when it returns. Errors: std::system_error, as
// std::thread.
template <typename Work>
[[nodiscard]] std::thread start_thread(Work&& work);

// What start_thread() does about signals: all of them are blocked for a scope, in this thread and
// in those that it starts.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept;
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

template <typename Work>
std::thread start_thread(Work&& work) {
  const SignalsBlocked blocked;
  return std::thread(std::forward<Work>(work));
}

}  // namespace passthroughfs
