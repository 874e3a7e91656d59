// SPDX-License-Identifier: Apache-2.0
#include "support/program.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace passthroughfs::test {
namespace {

std::string content_of(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  off_t at = 0;
  for (ssize_t n = 0; (n = pread(fd, buffer.data(), buffer.size(), at)) > 0; at += n) {
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  close(fd);
  return text;
}

}  // namespace

void exec_program(const std::vector<std::string>& arguments,
                  const std::vector<std::string>& environment, unsigned inherited) {
  for (const std::string& variable : environment) {
    const std::size_t equals = variable.find('=');
    setenv(variable.substr(0, equals).c_str(), variable.substr(equals + 1).c_str(), 1);
  }
  std::vector<char*> argv;
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  close_range(STDERR_FILENO + 1 + inherited, ~0U, CLOSE_RANGE_CLOEXEC);
  execvp(argv[0], argv.data());
  std::perror(argv[0]);
  _exit(127);
}

ProgramResult run_program(const std::vector<std::string>& arguments,
                          const std::vector<std::string>& environment,
                          std::chrono::milliseconds deadline) {
  // Files, not pipes: a daemon that keeps them open must not make us wait for it.
  const int out = memfd_create("stdout", MFD_CLOEXEC);
  const int err = memfd_create("stderr", MFD_CLOEXEC);
  (void)fflush(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    exec_program(arguments, environment);
  }
  ProgramResult result;
  int status = 0;
  if (pid > 0 && !wait_until(deadline, [&] { return waitpid(pid, &status, WNOHANG) == pid; })) {
    ADD_FAILURE() << arguments[0] << " did not end in time";
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
  }
  result.exit_code = pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  result.out = content_of(out);
  result.err = content_of(err);
  return result;
}

bool have_program(const std::string& name) {
  std::istringstream path(std::getenv("PATH") != nullptr ? std::getenv("PATH") : "");
  for (std::string folder; std::getline(path, folder, ':');) {
    if (access((folder + "/" + name).c_str(), X_OK) == 0) {
      return true;
    }
  }
  return false;
}

std::string read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace passthroughfs::test
