// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <ctime>

namespace passthroughfs {
namespace {

std::atomic<LogSink> g_sink{nullptr};
void (*g_detach)() = nullptr;  // constant once threads exist, as is g_reopen
void (*g_reopen)() = nullptr;
std::atomic<LogLevel> g_lowest{LogLevel::info};

}  // namespace

void set_log_sink(LogSink sink, LogLevel lowest) noexcept {
  g_lowest.store(lowest);
  g_sink.store(sink);
}

bool log_enabled(LogLevel level) noexcept {
  return g_sink.load(std::memory_order_relaxed) != nullptr &&
         level >= g_lowest.load(std::memory_order_relaxed);
}

void log_line(LogLevel level, std::string_view line) noexcept {
  if (LogSink sink = g_sink.load(); sink != nullptr) sink(level, line);
}

void set_log_hooks(void (*detach)(), void (*reopen)()) noexcept {
  g_detach = detach;
  g_reopen = reopen;
}
void log_detach() noexcept {
  if (g_detach != nullptr) g_detach();
}
void log_reopen() noexcept {
  if (g_reopen != nullptr) g_reopen();
}
bool log_can_reopen() noexcept { return g_reopen != nullptr; }

bool LogRateLimit::allow() noexcept {
  timespec now{};
  (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  // Two threads may both start a new second; the limit is a courtesy, not a count.
  if (second_.exchange(now.tv_sec, std::memory_order_relaxed) != now.tv_sec) {
    used_.store(0, std::memory_order_relaxed);
  }
  return used_.fetch_add(1, std::memory_order_relaxed) < per_second_;
}

}  // namespace passthroughfs
