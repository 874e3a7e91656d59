// SPDX-License-Identifier: Apache-2.0
#include "cli/logging.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <syslog.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <iterator>

#include "base/fd.h"

namespace passthroughfs {
namespace {

// Sinks are plain functions, so what they use is global. The descriptors live until the process
// ends: another thread may be writing.
std::atomic<int> g_log_fd{STDERR_FILENO};
int g_log_directory = -1;  // constant once threads exist
std::string g_log_name;    // constant once threads exist

const char* word(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return "debug";
    case LogLevel::info: return "info";
    case LogLevel::warning: return "warning";
    case LogLevel::error: return "error";
  }
  return "";
}

// "2024-05-06T07:08:09.123Z warning: text". One write per line: O_APPEND keeps lines of several
// threads whole. What cannot be written is lost; logging must never stop a request.
void write_line(LogLevel level, std::string_view line) {
  timespec now{};
  (void)clock_gettime(CLOCK_REALTIME, &now);
  std::tm utc{};
  (void)gmtime_r(&now.tv_sec, &utc);
  std::array<char, 32> stamp{};
  (void)strftime(stamp.data(), stamp.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  fmt::memory_buffer text;
  fmt::format_to(std::back_inserter(text), "{}.{:03}Z {}: {}\n", stamp.data(),
                 now.tv_nsec / 1000000, word(level), line);
  (void)!write(g_log_fd.load(std::memory_order_relaxed), text.data(), text.size());
}

void syslog_line(LogLevel level, std::string_view line) {
  const int priority = level == LogLevel::error     ? LOG_ERR
                       : level == LogLevel::warning ? LOG_WARNING
                       : level == LogLevel::info    ? LOG_INFO
                                                    : LOG_DEBUG;
  syslog(priority, "%.*s", static_cast<int>(line.size()), line.data());
}

Result<UniqueFd> open_log() {
  return own(openat(g_log_directory, g_log_name.c_str(),
                    O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640));
}

}  // namespace

void log_to_stderr(LogLevel lowest) noexcept { set_log_sink(write_line, lowest); }

void log_to_syslog(LogLevel lowest) noexcept {
  openlog("passthroughfs", LOG_PID | LOG_NDELAY, LOG_DAEMON);
  set_log_sink(syslog_line, lowest);
  set_log_hooks(
      [] {
        closelog();
        openlog("passthroughfs", LOG_PID, LOG_DAEMON);
      },
      nullptr);
}

Outcome<void> log_to_file(const std::string& path, LogLevel lowest, int at) {
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  g_log_name = slash == std::string::npos ? path : path.substr(slash + 1);
  auto fail = [&path](Errno error) {
    return Error{error.value(),
                 fmt::format("log file '{}': {}", path, std::strerror(error.value()))};
  };
  if (g_log_name.empty()) return fail(Err(EISDIR));
  if (at < 0) {
    auto opened = own(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!opened) return fail(opened.error());
    at = opened->release();
  }
  g_log_directory = at;
  auto file = open_log();
  if (!file) return fail(file.error());
  g_log_fd = file->release();
  set_log_sink(write_line, lowest);
  set_log_hooks(nullptr, [] { reopen_log(); });
  return {};
}

int log_directory() noexcept { return g_log_directory; }

void reopen_log() noexcept {
  if (g_log_directory < 0) return;
  auto file = open_log();
  if (!file) {
    log_error("cannot open the log file again: {}", file.error().to_string());
    return;
  }
  // In place of the old one: a thread that is writing at this moment must not meet a closed number.
  (void)dup3(file->get(), g_log_fd.load(), O_CLOEXEC);
}

}  // namespace passthroughfs
