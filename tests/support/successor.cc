// SPDX-License-Identifier: Apache-2.0
#include "support/successor.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <system_error>

namespace passthroughfs::test {

pid_t start_sharing(const std::function<int()>& body) {
  const long process = ::syscall(SYS_clone, CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, 0);
  if (process < 0) throw std::system_error(errno, std::generic_category(), "clone");
  if (process != 0) return static_cast<pid_t>(process);
  int status = 99;
  try {
    status = body();
  } catch (...) {
  }
  ::_exit(status);
}

std::string end_of(pid_t process) {
  int status = 0;
  while (::waitpid(process, &status, 0) != process) {
    if (errno != EINTR) return "lost";
  }
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  return "exit " + std::to_string(WEXITSTATUS(status));
}

std::string run_sharing(const std::function<int()>& body) { return end_of(start_sharing(body)); }

void die() noexcept {
  for (;;) (void)::kill(::getpid(), SIGKILL);
}

std::set<int> descriptor_numbers() {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc/self/fd"), &::closedir);
  if (!directory) throw std::system_error(errno, std::generic_category(), "/proc/self/fd");
  std::set<int> out;
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_name[0] != '.') out.insert(std::stoi(entry->d_name));
  }
  out.erase(::dirfd(directory.get()));
  return out;
}

void close_all_but(const std::set<int>& kept) {
  for (const int fd : descriptor_numbers()) {
    if (!kept.contains(fd)) (void)::close(fd);
  }
}

}  // namespace passthroughfs::test
