// SPDX-License-Identifier: Apache-2.0
#include "session/deadlock.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "base/fd.h"

namespace passthroughfs {
namespace {

std::string_view read_about(pid_t thread, const char* what, std::array<char, 512>& text) noexcept {
  std::array<char, 64> path{};
  (void)std::snprintf(path.data(), path.size(), "/proc/self/task/%d/%s", thread, what);
  const UniqueFd file(::open(path.data(), O_RDONLY | O_CLOEXEC));
  const ssize_t got = file.valid() ? ::read(file.get(), text.data(), text.size() - 1) : 0;
  text[got > 0 ? static_cast<std::size_t>(got) : 0] = '\0';
  return {text.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
}

// In which a thread waits for another one, or for a request: those that read it are in read().
bool waits_in(long call) noexcept {
  switch (call) {
    case SYS_futex:
    case SYS_read:
    case SYS_ppoll:
#ifdef SYS_poll
    case SYS_poll:
#endif
    case SYS_epoll_pwait:
#ifdef SYS_epoll_wait
    case SYS_epoll_wait:
#endif
    case SYS_accept4:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
    case SYS_rt_sigtimedwait:
    case SYS_io_uring_enter: return true;
    default: return false;
  }
}

bool waits_for_others(pid_t thread) noexcept {
  std::array<char, 512> text{};
  const std::string_view stat = read_about(thread, "stat", text);
  const std::size_t name_end = stat.rfind(')');
  // Not R, and not D, which is a disk or the like whatever the call.
  if (name_end == std::string_view::npos || !stat.substr(name_end).starts_with(") S")) return false;
  const std::string_view call = read_about(thread, "syscall", text);
  char* end = nullptr;
  const long number = std::strtol(text.data(), &end, 10);
  return !call.empty() && end != text.data() && waits_in(number);
}

}  // namespace

bool only_waits_for_itself(pid_t me) noexcept {
  const std::unique_ptr<DIR, int (*)(DIR*)> tasks(::opendir("/proc/self/task"), &::closedir);
  if (!tasks) return false;
  while (const dirent* entry = ::readdir(tasks.get())) {
    const long thread = std::strtol(entry->d_name, nullptr, 10);
    if (thread <= 0 || thread == me) continue;
    if (!waits_for_others(static_cast<pid_t>(thread))) return false;
  }
  return true;
}

}  // namespace passthroughfs
