// SPDX-License-Identifier: Apache-2.0
#include "guard/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace passthroughfs {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::array kWatched{SIGTERM, SIGINT, SIGHUP, SIGCHLD};
constexpr const char* kOomScore = "/proc/self/oom_score_adj";

std::atomic<unsigned> g_came{0};  // a bit per signal number
static_assert(std::atomic<unsigned>::is_always_lock_free);

void note_signal(int signal) noexcept { g_came.fetch_or(1U << signal, std::memory_order_relaxed); }

}  // namespace

WatchedSignals::WatchedSignals() noexcept {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kWatched) sigaddset(&set, signal);
  (void)::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  struct sigaction action {};
  action.sa_handler = note_signal;
  for (const int signal : kWatched) (void)::sigaction(signal, &action, nullptr);
}

WatchedSignals::Came WatchedSignals::wait(int fd, std::uint64_t most_ns) const noexcept {
  sigset_t open;
  (void)::pthread_sigmask(SIG_BLOCK, nullptr, &open);
  for (const int signal : kWatched) sigdelset(&open, signal);
  pollfd waited{.fd = fd, .events = POLLIN, .revents = 0};
  const timespec most{.tv_sec = static_cast<time_t>(most_ns / kSecond),
                      .tv_nsec = static_cast<long>(most_ns % kSecond)};
  (void)::ppoll(&waited, 1, most_ns == 0 ? nullptr : &most, &open);
  const unsigned came = g_came.exchange(0, std::memory_order_relaxed);
  return {.stop = (came & (1U << SIGTERM | 1U << SIGINT)) != 0,
          .reopen = (came & 1U << SIGHUP) != 0};
}

pid_t clone_with_descriptors(std::atomic<pid_t>* noted) noexcept {
  static_assert(sizeof(*noted) == sizeof(pid_t));
  unsigned long flags = CLONE_FILES | SIGCHLD;
  if (noted != nullptr) flags |= CLONE_PARENT_SETTID;
  void* number = nullptr;
  if (::prctl(PR_GET_TID_ADDRESS, &number, 0, 0, 0) == 0 && number != nullptr) {
    flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
  }
#if defined(__s390x__)
  return static_cast<pid_t>(::syscall(SYS_clone, nullptr, flags, noted, number, nullptr));
#elif defined(__x86_64__)
  return static_cast<pid_t>(::syscall(SYS_clone, flags, nullptr, noted, number, nullptr));
#else
  return static_cast<pid_t>(::syscall(SYS_clone, flags, nullptr, noted, nullptr, number));
#endif
}

// ESRCH: no such process, or one whose memory is gone. Whether this one may read it does not
// matter.
bool has_memory(pid_t process) noexcept {
  std::byte byte{};
  const iovec to{.iov_base = &byte, .iov_len = 1}, from{.iov_base = nullptr, .iov_len = 1};
  return ::process_vm_readv(process, &to, 1, &from, 1, 0) >= 0 || errno != ESRCH;
}

Result<std::vector<int>> open_descriptors() {
  DIR* const directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return Errno::last();
  std::vector<int> out;
  while (const dirent* entry = ::readdir(directory)) {
    char* end = nullptr;
    const long number = std::strtol(entry->d_name, &end, 10);
    if (end == entry->d_name || number == ::dirfd(directory)) continue;
    out.push_back(static_cast<int>(number));
  }
  ::closedir(directory);
  std::sort(out.begin(), out.end());
  return out;
}

std::string end_of(int status) {
  return WIFSIGNALED(status) ? fmt::format("was killed: {}", ::strsignal(WTERMSIG(status)))
                             : fmt::format("ended with {}", WEXITSTATUS(status));
}

std::string oom_score() {
  const UniqueFd file(::open(kOomScore, O_RDONLY | O_CLOEXEC));
  std::array<char, 16> text{};
  const ssize_t got = file.valid() ? ::read(file.get(), text.data(), text.size()) : 0;
  return {text.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
}

void set_oom_score(std::string_view score) noexcept {
  const UniqueFd file(::open(kOomScore, O_WRONLY | O_CLOEXEC));
  if (file.valid()) (void)!::write(file.get(), score.data(), score.size());
}

}  // namespace passthroughfs
