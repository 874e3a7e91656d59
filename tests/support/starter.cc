// SPDX-License-Identifier: Apache-2.0
#include "support/starter.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>

#include "support/program.h"

namespace passthroughfs::test {
namespace {

constexpr std::size_t kMost = 64;  // descriptors

// A message: the names, and the descriptors.
struct Message {
  explicit Message(std::array<char, 4096>& names) : data{names.data(), names.size()} {
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
  iovec data;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMost * sizeof(int))> control{};
  msghdr header{};
};

// Up and out of the way first: a number that is to be taken may be one of those to be copied.
void take_descriptors(const std::vector<int>& fds) {
  constexpr int kHigh = 400;
  std::vector<int> copies;
  for (const int fd : fds) copies.push_back(fcntl(fd, F_DUPFD, kHigh));
  int next = STDERR_FILENO + 1;
  for (const int copy : copies) dup2(copy, next++);
  close_range(static_cast<unsigned>(next), ~0U, 0);
}

[[noreturn]] void serve(int socket, const std::vector<std::string>& arguments,
                        std::vector<std::string> environment, const std::string& log_file) {
  dup2(socket, STDIN_FILENO);
  close_range(STDERR_FILENO + 1, ~0U, 0);
  for (;;) {
    std::array<char, 4096> names{};
    Message message(names);
    const ssize_t got = recvmsg(STDIN_FILENO, &message.header, 0);
    if (got <= 0) _exit(0);
    std::vector<int> fds;
    if (const cmsghdr* const part = CMSG_FIRSTHDR(&message.header)) {
      fds.resize((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
      std::memcpy(fds.data(), CMSG_DATA(part), fds.size() * sizeof(int));
    }
    // A child of the test, which waits for it.
    const auto process = static_cast<pid_t>(
        syscall(SYS_clone, CLONE_PARENT | SIGCHLD, nullptr, nullptr, nullptr, 0));
    if (process == 0) {
      take_descriptors(fds);
      take_daemon_streams(log_file);
      environment.push_back("LISTEN_PID=" + std::to_string(getpid()));
      environment.push_back("LISTEN_FDS=" + std::to_string(fds.size()));
      environment.push_back("LISTEN_FDNAMES=" + std::string(names.data() + 1));
      umask(022);
      (void)chdir("/");
      exec_program(arguments, environment, static_cast<unsigned>(fds.size()));
    }
    for (const int fd : fds) close(fd);
    (void)!send(STDIN_FILENO, &process, sizeof process, MSG_NOSIGNAL);
  }
}

}  // namespace

void take_daemon_streams(const std::string& log_file) {
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int log = open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  dup2(null, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
}

Starter::Starter(std::vector<std::string> arguments, std::vector<std::string> environment,
                 std::string log_file) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return;
  socket_ = UniqueFd(ends[0]);
  (void)fflush(nullptr);
  process_ = fork();
  if (process_ == 0) serve(ends[1], arguments, std::move(environment), log_file);
  close(ends[1]);
}

Starter::~Starter() {
  socket_.reset();
  if (process_ > 0) waitpid(process_, nullptr, 0);
}

pid_t Starter::start(const std::vector<std::pair<std::string, int>>& kept) {
  std::array<char, 4096> names{};
  std::string text = " ";
  std::vector<int> fds;
  for (const auto& [name, fd] : kept) {
    text += (fds.empty() ? "" : ":") + name;
    fds.push_back(fd);
  }
  if (fds.size() > kMost || text.size() >= names.size()) return -1;
  std::memcpy(names.data(), text.data(), text.size());
  Message message(names);
  message.data.iov_len = text.size() + 1;
  message.header.msg_controllen = fds.empty() ? 0 : CMSG_SPACE(fds.size() * sizeof(int));
  if (cmsghdr* const part = CMSG_FIRSTHDR(&message.header)) {
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(part), fds.data(), fds.size() * sizeof(int));
  }
  pid_t process = -1;
  if (sendmsg(socket_.get(), &message.header, MSG_NOSIGNAL) < 0) return -1;
  return recv(socket_.get(), &process, sizeof process, 0) == sizeof process ? process : -1;
}

}  // namespace passthroughfs::test
