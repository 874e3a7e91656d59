// SPDX-License-Identifier: Apache-2.0
#include "guard/pulse.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string_view>

#include "base/fd.h"

namespace passthroughfs {
namespace {

// The character behind "KEY:\t"; 0 without it.
char first_of(std::string_view status, std::string_view key) noexcept {
  const std::size_t at = status.find(key);
  return at == std::string_view::npos || at + key.size() >= status.size() ? '\0'
                                                                          : status[at + key.size()];
}

}  // namespace

Condition condition_of(pid_t process, pid_t thread) noexcept {
  std::array<char, 64> path{};
  (void)std::snprintf(path.data(), path.size(), "/proc/%d/task/%d/status", process, thread);
  const UniqueFd file(::open(path.data(), O_RDONLY | O_CLOEXEC));
  std::array<char, 2048> text{};
  const ssize_t got = file.valid() ? ::read(file.get(), text.data(), text.size()) : 0;
  const std::string_view status(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  const char tracer = first_of(status, "\nTracerPid:\t");
  if (tracer != '\0' && tracer != '0') return Condition::traced;
  return first_of(status, "\nState:\t") == 'D' ? Condition::in_disk : Condition::ordinary;
}

}  // namespace passthroughfs
