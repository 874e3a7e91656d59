// SPDX-License-Identifier: Apache-2.0
#include "session/pending_signal.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>

#include "base/fd.h"

namespace passthroughfs {
namespace {

// The value of a line "KEY:\t0123abcd"; 0 without it.
std::uint64_t signal_set(std::string_view status, std::string_view key) noexcept {
  const std::size_t at = status.find(key);
  if (at == std::string_view::npos) return 0;
  const std::string_view rest = status.substr(at + key.size());
  std::uint64_t set = 0;
  (void)std::from_chars(rest.data(), rest.data() + rest.size(), set, 16);
  return set;
}

}  // namespace

bool shows_pending_signal(std::string_view status) noexcept {
  const std::uint64_t pending =
      signal_set(status, "\nSigPnd:\t") | signal_set(status, "\nShdPnd:\t");
  return (pending & ~signal_set(status, "\nSigBlk:\t")) != 0;
}

bool has_pending_signal(pid_t thread) noexcept {
  if (thread <= 0) return false;
  std::array<char, 64> path{};
  (void)std::snprintf(path.data(), path.size(), "/proc/%d/status", static_cast<int>(thread));
  const UniqueFd fd(::open(path.data(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return false;
  std::array<char, 4096> text{};
  const ssize_t size = ::read(fd.get(), text.data(), text.size());
  return size > 0 && shows_pending_signal({text.data(), static_cast<std::size_t>(size)});
}

}  // namespace passthroughfs
