// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/log.h"
#include "passthroughfs/result.h"

namespace passthroughfs {

// Where the daemon's log lines go. Call one of these once, before threads exist.
void log_to_stderr(LogLevel lowest) noexcept;
void log_to_syslog(LogLevel lowest) noexcept;
// Appends. The directory is opened here, so that opening the file again later cannot go through a
// mount that covers it by then.
// `directory`: that directory, already open, or -1.
Outcome<void> log_to_file(const std::string& path, LogLevel lowest, int directory = -1);
// The same descriptor, for a program that takes over; -1: there is none.
[[nodiscard]] int log_directory() noexcept;

// Opens the log file again, after a rotation. Without effect for the other sinks.
void reopen_log() noexcept;

}  // namespace passthroughfs
