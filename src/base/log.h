// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/core.h>

#include <atomic>
#include <cstdint>
#include <string_view>
#include <utility>

namespace passthroughfs {

enum class LogLevel : std::uint8_t { debug, info, warning, error };

// Where log lines go; the program sets it once at start, before threads exist. The sink must be
// thread-safe and must never write to a file below the mount or on a watched source.
using LogSink = void (*)(LogLevel, std::string_view line);
void set_log_sink(LogSink sink, LogLevel lowest) noexcept;
[[nodiscard]] bool log_enabled(LogLevel level) noexcept;
void log_line(LogLevel level, std::string_view line) noexcept;

// Two processes that share descriptors must not share what a sink opens and closes by itself:
// `detach` lets go of it before the second one is made, and each gets its own when it next writes.
// `reopen`: the administrator has moved the log file away. Either may be nullptr.
void set_log_hooks(void (*detach)(), void (*reopen)()) noexcept;
void log_detach() noexcept;
void log_reopen() noexcept;
[[nodiscard]] bool log_can_reopen() noexcept;

template <typename... Args>
void log_to(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(level)) log_line(level, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  log_to(LogLevel::debug, format, std::forward<Args>(args)...);
}
template <typename... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_to(LogLevel::info, format, std::forward<Args>(args)...);
}
template <typename... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_to(LogLevel::warning, format, std::forward<Args>(args)...);
}
template <typename... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log_to(LogLevel::error, format, std::forward<Args>(args)...);
}

// Lets a line through a few times a second, so that a client which provokes it in a loop cannot
// fill the log. Thread-safe.
class LogRateLimit {
 public:
  explicit LogRateLimit(unsigned per_second) noexcept : per_second_(per_second) {}
  [[nodiscard]] bool allow() noexcept;

 private:
  const unsigned per_second_;
  std::atomic<std::int64_t> second_{0};
  std::atomic<unsigned> used_{0};
};

}  // namespace passthroughfs
