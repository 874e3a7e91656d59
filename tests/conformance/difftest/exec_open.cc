// SPDX-License-Identifier: Apache-2.0
//
// Opening, closing, duplicating and handing over descriptors.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "exec.h"

namespace passthroughfs::difftest {

Result exec_open(Agent& agent, const Op& op) {
  int flags = static_cast<int>(op.a);
  // A FIFO without a peer would block the agent for ever.
  flags |= O_NONBLOCK | O_CLOEXEC;
  if (agent.fault == Fault::kDropAppend) flags &= ~O_APPEND;
  if (agent.fault == Fault::kDropTrunc) flags &= ~O_TRUNC;
  if (agent.profile == Profile::kStateless && (flags & O_TRUNC) != 0) {
    struct stat st {};  // see exceptions()
    if (fstatat(agent.at(op.dir), op.path.c_str(), &st, 0) == 0 && st.st_size == 0) {
      flags &= ~O_TRUNC;
    }
  }
  const int fd = openat(agent.at(op.dir), op.path.c_str(), flags, static_cast<mode_t>(op.b));
  Result result = outcome(fd);
  if (fd >= 0) {
    result.value = 0;
    agent.put(op.fd, fd, result);
    // What O_TRUNC does to the mode the kernel's FUSE learns when somebody asks;
    // protected_hardlinks does not ask.
    struct stat st {};
    if ((flags & O_TRUNC) != 0) (void)fstat(fd, &st);
  }
  return result;
}

Result exec_close(Agent& agent, const Op& op) {
  Slot& slot = agent.slots[static_cast<std::size_t>(op.fd) % kSlots];
  const int fd = slot.fd;
  slot = Slot{};
  return outcome(close(fd));
}

Result exec_dup(Agent& agent, const Op& op) {
  const int fd = fcntl(agent.fd(op.fd), F_DUPFD_CLOEXEC, 3);
  Result result = outcome(fd);
  if (fd >= 0) {
    result.value = 0;
    agent.put(op.fd2, fd, result);
  }
  return result;
}

Result exec_send_fd(Agent& agent, const Op& op) {
  const int fd = agent.fd(op.fd);
  if (fcntl(fd, F_GETFD) < 0) return outcome(-1);
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  const int to = agent.outboxes[static_cast<std::size_t>(op.a) % kMaxAgents];
  return outcome(sendmsg(to, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

Result exec_recv_fd(Agent& agent, const Op& op) {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  Result result = outcome(recvmsg(agent.inbox, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (result.value < 0 || header == nullptr || header->cmsg_type != SCM_RIGHTS) return result;
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  agent.put(op.fd, fd, result);
  return result;
}

Result exec_getfl(Agent& agent, const Op& op) {
  Result result = outcome(fcntl(agent.fd(op.fd), F_GETFL));
  if (result.value >= 0) result.detail = " flags=" + show_value(result.value, Show::kOpenFlags);
  return result;
}

Result exec_setfl(Agent& agent, const Op& op) {
  const int fd = agent.fd(op.fd);
  int flags = static_cast<int>(op.a) | O_NONBLOCK;
  // See exceptions(): of kernel passthrough, and of files that were made append-only.
  if (agent.profile == Profile::kPassthrough || agent.board->locked) {
    const int now = fcntl(fd, F_GETFL);
    if (now >= 0 && agent.board->locked) flags &= ~O_APPEND;
    if (now >= 0) flags |= now & (O_APPEND | O_DIRECT);
  }
  return outcome(fcntl(fd, F_SETFL, flags));
}

}  // namespace passthroughfs::difftest
