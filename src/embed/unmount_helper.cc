// SPDX-License-Identifier: Apache-2.0
#include "embed/unmount_helper.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>

#include "channel/mount.h"

namespace passthroughfs {
namespace {

// One message: 'l' (lazy) or 'u', then the path. The answer: an int, 0 or an errno.
[[noreturn]] void serve(int socket) {
  // Whatever the parent has open must not stay open because of this child: who started the parent
  // may wait for the end of its standard output.
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream) (void)dup2(null, stream);
  if (socket > STDERR_FILENO + 1) (void)close_range(STDERR_FILENO + 1, unsigned(socket) - 1, 0);
  (void)close_range(unsigned(socket) + 1, ~0U, 0);
  (void)!chdir("/");
  std::array<char, PATH_MAX + 2> message;
  for (;;) {
    const ssize_t n = recv(socket, message.data(), message.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 1) _exit(0);
    const std::string path(message.data() + 1, static_cast<std::size_t>(n) - 1);
    const Result<void> done = unmount(path, message[0] == 'l');
    const int answer = done ? 0 : done.error().value();
    if (send(socket, &answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer) _exit(0);
  }
}

}  // namespace

Result<std::unique_ptr<UnmountHelper>> UnmountHelper::start() {
  std::array<int, 2> ends{};
  TRY(check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data())));
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const pid_t child = fork();
  if (child < 0) return Errno::last();
  if (child == 0) {
    ours.reset();
    serve(theirs.get());
  }
  return std::unique_ptr<UnmountHelper>(new UnmountHelper(std::move(ours), child));
}

UnmountHelper::~UnmountHelper() {
  socket_.reset();
  while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Result<void> UnmountHelper::unmount(const std::string& mountpoint, bool lazy) {
  const std::string message = (lazy ? 'l' : 'u') + mountpoint;
  TRY(check(send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL)));
  int answer = EPIPE;
  for (;;) {
    const ssize_t n = recv(socket_.get(), &answer, sizeof answer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Errno::last();
    if (n != sizeof answer) return Err(EPIPE);
    break;
  }
  if (answer != 0) return Errno(answer);
  return ok();
}

}  // namespace passthroughfs
