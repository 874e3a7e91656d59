// SPDX-License-Identifier: Apache-2.0
#include "cli/daemonize.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "cli/commands.h"
#include "cli/report.h"

namespace passthroughfs {
namespace {

// The verdict: one byte, the exit code, then the line for stderr.
[[noreturn]] void await_verdict(UniqueFd child_says, pid_t child) {
  std::string verdict;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t n = read(child_says.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    verdict.append(buffer.data(), static_cast<std::size_t>(n));
  }
  if (verdict.empty()) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    report(WIFSIGNALED(status) ? fmt::format("the daemon died: {}", strsignal(WTERMSIG(status)))
                               : std::string("the daemon ended before it served the mount"));
    _exit(kExitFailure);
  }
  if (verdict.size() > 1) report(std::string_view(verdict).substr(1));
  _exit(static_cast<unsigned char>(verdict.front()));
}

void leave_terminal() {
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid()) return;
  // dup2 clears close-on-exec, as the three standard streams need it.
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream) {
    (void)dup2(null.get(), stream);
  }
}

}  // namespace

void Daemonizer::close_inherited() noexcept { (void)close_range(STDERR_FILENO + 1, ~0U, 0); }

bool Daemonizer::fork_away() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return false;
  UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const pid_t child = fork();
  if (child < 0) return false;
  if (child > 0) {
    writing.reset();
    await_verdict(std::move(reading), child);
  }
  parent_ = std::move(writing);
  (void)setsid();  // fails for a process group leader only, which a new child is not
  return true;
}

void Daemonizer::ready() {
  (void)!chdir("/");
  if (!parent_.valid()) return;
  leave_terminal();
  const char code = kExitOk;
  (void)!write(parent_.get(), &code, 1);  // a parent that was killed does not wait
  // The number stays taken: a server that shares our descriptors must not come to have it.
  (void)dup3(STDIN_FILENO, parent_.release(), O_CLOEXEC);
}

void Daemonizer::failed(std::string_view line, int code) {
  if (!parent_.valid()) {
    report(line);
    return;
  }
  std::string verdict(1, static_cast<char>(code));
  verdict += line;
  (void)!write(parent_.get(), verdict.data(), verdict.size());
  parent_.reset();
}

}  // namespace passthroughfs
