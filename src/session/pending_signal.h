// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string_view>

namespace passthroughfs {

// Whether a thread has a signal that would wake it: pending, and not blocked. False as well if that
// cannot be known: the thread is gone, or in a pid namespace that is not ours.
[[nodiscard]] bool has_pending_signal(pid_t thread) noexcept;

// The same, of the text of /proc/PID/status.
[[nodiscard]] bool shows_pending_signal(std::string_view status) noexcept;

}  // namespace passthroughfs
