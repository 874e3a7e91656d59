// SPDX-License-Identifier: Apache-2.0
#include "session/openers.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace passthroughfs {
namespace {

std::string read_file(std::uint32_t thread, std::string_view name) {
  const UniqueFd fd(::open(fmt::format("/proc/{}/{}", thread, name).c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 2048> text{};
  const ssize_t size = fd.valid() ? ::read(fd.get(), text.data(), text.size()) : -1;
  return {text.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
}

template <typename Number>
bool parse(std::string_view text, Number& number) {
  return std::from_chars(text.data(), text.data() + text.size(), number).ec == std::errc();
}

}  // namespace

Openers::Task Openers::read(std::uint32_t thread) {
  Task task;
  // The start last: a task that has been there since before the open was so at the first read, too.
  const std::string status = read_file(thread, "status");
  const std::string stat = read_file(thread, "stat");
  constexpr std::string_view kKey = "\nTgid:\t";
  const std::size_t key = status.find(kKey);
  if (key == std::string::npos ||
      !parse(std::string_view(status).substr(key + kKey.size()), task.process)) {
    return task;
  }
  // The name, the second field, may contain anything; the start is the 20th behind it.
  std::size_t at = stat.rfind(')');
  for (int i = 0; i < 20 && at != std::string::npos; ++i) at = stat.find(' ', at + 1);
  std::int64_t ticks = 0;
  if (at == std::string::npos || !parse(std::string_view(stat).substr(at + 1), ticks)) return task;
  task.started_ns = ticks * (1'000'000'000 / ::sysconf(_SC_CLK_TCK));
  return task;
}

std::uint32_t Openers::process_of(std::uint32_t thread, std::int64_t opened_ns) {
  if (thread == 0) return 0;  // of a pid namespace that cannot be seen from here
  const auto [at, added] = seen_.try_emplace(thread);
  if (added) at->second = read(thread);
  return at->second.started_ns <= opened_ns ? at->second.process : thread;
}

}  // namespace passthroughfs
