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
#include <new>
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

// "/proc/1/task/2" or "/proc/1"; what is not there any more is in no state.
struct ThreadStatus {
  char state = '\0';  // "Z": it has ended, and others of its process have not
  bool is_notifier = false;
  bool is_killed = false;   // SIGKILL is sent and not taken: it has not begun to end
  bool dumps_core = false;  // its process: all threads were sent SIGKILL but the one that writes

  explicit ThreadStatus(const std::string& thread) {
    std::ifstream status(thread + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("Name:")) {
        is_notifier = line.ends_with(std::string("\t") + kNotifierName);
      } else if (line.starts_with("State:\t") && line.size() > 7) {
        state = line[7];
      } else if (line.starts_with("CoreDumping:")) {
        dumps_core = line.ends_with("\t1");
      } else if (line.starts_with("SigPnd:")) {
        const std::uint64_t pending = std::strtoull(line.c_str() + 7, nullptr, 16);
        is_killed = (pending & (std::uint64_t{1} << (SIGKILL - 1))) != 0;
      }
    }
  }
};

std::string directory_of(pid_t process) { return "/proc/" + std::to_string(process); }

// The first thread of a process that ends may be gone before the others are.
bool any_thread_maps(pid_t process, std::uint64_t inode) {
  const std::string directory = directory_of(process);
  if (maps(directory, inode)) return true;
  if (ThreadStatus(directory).state != 'Z') return false;
  std::error_code gone;
  for (const auto& thread : fs::directory_iterator(directory + "/task", gone)) {
    if (maps(thread.path().string(), inode)) return true;
  }
  return false;
}

bool is_left(pid_t process, std::uint64_t inode) {
  return any_thread_maps(process, inode) && !only_waits_for_successor(process);
}

std::uint64_t inode_of(BorrowedFd file) noexcept {
  struct stat st {};
  return ::fstat(file.get(), &st) == 0 ? st.st_ino : 0;
}

// Looked at once more when its number cannot become another's.
void end(pid_t process, BorrowedFd memory) {
  const UniqueFd held(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
  if (!held.valid() || !is_left(process, inode_of(memory))) return;
  (void)::syscall(SYS_pidfd_send_signal, held.get(), SIGKILL, nullptr, 0);
}

}  // namespace

// A signal that writes a core lets every thread come to its end first, so it waits for the notifier
// as well: the others stand there with their memory. Who has not taken SIGKILL yet may be in a call
// that nothing ends, and go on with that.
bool only_waits_for_successor(pid_t process) noexcept try {
  const std::string directory = directory_of(process);
  const ThreadStatus first(directory);
  if (first.state != 'Z' && !first.dumps_core) return false;
  bool found = false;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator(directory + "/task", gone)) {
    const ThreadStatus thread(entry.path().string());
    const bool waits = thread.is_notifier && thread.state == 'D' && thread.is_killed;
    if (!waits && thread.state != 'Z' && !(thread.dumps_core && !thread.is_killed)) return false;
    found = found || waits;
  }
  return found && !gone;
} catch (const std::bad_alloc&) {
  return false;
}

std::vector<pid_t> processes_that_map(BorrowedFd memory) {
  const std::uint64_t inode = inode_of(memory);
  std::vector<pid_t> out;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator("/proc", gone)) {
    const std::string name = entry.path().filename().string();
    if (!is_number(name)) continue;
    const auto process = static_cast<pid_t>(std::strtol(name.c_str(), nullptr, 10));
    if (process == ::getpid()) continue;
    if (is_left(process, inode)) out.push_back(process);
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
