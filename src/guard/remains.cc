// SPDX-License-Identifier: Apache-2.0
#include "guard/remains.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>

#include "base/thread.h"

namespace passthroughfs {
namespace {

namespace fs = std::filesystem;

bool is_number(const std::string& text) noexcept {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return c >= '0' && c <= '9'; });
}

// "7f..-7f.. rw-s 00000000 00:01 4242   /memfd:passthroughfs-guardian (deleted)"
bool maps(const std::string& process, std::uint64_t inode) {
  std::ifstream lines(process + "/maps");
  for (std::string line; std::getline(lines, line);) {
    if (line.find("/memfd:") == std::string::npos) continue;
    std::istringstream words(line);
    std::string range, rights, offset, device;
    std::uint64_t number = 0;
    if (words >> range >> rights >> offset >> device >> number && number == inode) return true;
  }
  return false;
}

// In the middle of telling the kernel to drop pages, which waits for a client's request, which
// waits for the next server: it does not come to its end before that is there. All that it will
// ever do is to end, for it has been killed.
bool only_waits_for_successor(const std::string& thread) {
  std::ifstream status(thread + "/status");
  bool is_notifier = false, waits = false, is_killed = false;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Name:")) is_notifier = line.ends_with(std::string("\t") + kNotifierName);
    if (line.starts_with("State:")) waits = line.find("\tD") != std::string::npos;
    if (line.starts_with("SigPnd:")) {
      const std::uint64_t pending = std::strtoull(line.c_str() + 7, nullptr, 16);
      is_killed = (pending & (std::uint64_t{1} << (SIGKILL - 1))) != 0;
    }
  }
  return is_notifier && waits && is_killed;
}

// The first thread of a process that ends may be gone before the others are.
bool any_thread_maps(const std::string& process, std::uint64_t inode) {
  if (maps(process, inode)) return true;
  std::ifstream state(process + "/stat");
  std::string text;
  std::getline(state, text);
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos || text.compare(name_end, 3, ") Z") != 0) return false;
  std::error_code gone;
  for (const auto& thread : fs::directory_iterator(process + "/task", gone)) {
    const std::string directory = thread.path().string();
    if (maps(directory, inode) && !only_waits_for_successor(directory)) return true;
  }
  return false;
}

std::uint64_t inode_of(BorrowedFd file) noexcept {
  struct stat st {};
  return ::fstat(file.get(), &st) == 0 ? st.st_ino : 0;
}

std::string directory_of(pid_t process) { return "/proc/" + std::to_string(process); }

// Looked at once more when its number cannot become another's.
void end(pid_t process, BorrowedFd memory) {
  const UniqueFd held(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
  if (!held.valid() || !any_thread_maps(directory_of(process), inode_of(memory))) return;
  (void)::syscall(SYS_pidfd_send_signal, held.get(), SIGKILL, nullptr, 0);
}

}  // namespace

std::vector<pid_t> processes_that_map(BorrowedFd memory) {
  const std::uint64_t inode = inode_of(memory);
  std::vector<pid_t> out;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator("/proc", gone)) {
    const std::string name = entry.path().filename().string();
    if (!is_number(name)) continue;
    const auto process = static_cast<pid_t>(std::strtol(name.c_str(), nullptr, 10));
    if (process == ::getpid()) continue;
    if (any_thread_maps(entry.path().string(), inode)) out.push_back(process);
  }
  return out;
}

// Until none is found: one may have made another just before.
bool end_processes_that_map(BorrowedFd memory, std::chrono::seconds most) {
  const auto until = std::chrono::steady_clock::now() + most;
  for (;;) {
    const std::vector<pid_t> found = processes_that_map(memory);
    if (found.empty()) return true;
    if (std::chrono::steady_clock::now() >= until) return false;
    for (const pid_t process : found) end(process, memory);
    constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 2'000'000};
    (void)::nanosleep(&kPause, nullptr);
  }
}

}  // namespace passthroughfs
