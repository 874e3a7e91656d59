// SPDX-License-Identifier: Apache-2.0
#include "base/fd_passing.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstring>

namespace passthroughfs {
namespace {

// A message with room for one descriptor; where it is, it stays.
struct Message {
  explicit Message(std::span<char> bytes) noexcept
      : data{.iov_base = bytes.data(), .iov_len = bytes.size()} {
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec data;
  msghdr header{};
};

}  // namespace

ssize_t send_with_fd(BorrowedFd socket, std::string_view bytes, int fd, SocketAddress to) noexcept {
  Message message({const_cast<char*>(bytes.data()), bytes.size()});
  message.header.msg_name = const_cast<sockaddr*>(to.address);
  message.header.msg_namelen = to.size;
  if (fd < 0) {
    message.header.msg_controllen = 0;
  } else {
    cmsghdr* const part = CMSG_FIRSTHDR(&message.header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(part), &fd, sizeof fd);
  }
  return ::sendmsg(socket.get(), &message.header, MSG_NOSIGNAL);
}

ssize_t receive_with_fd(BorrowedFd socket, std::span<char> room, int flags, UniqueFd& fd) noexcept {
  Message message(room);
  const ssize_t got = ::recvmsg(socket.get(), &message.header, flags | MSG_CMSG_CLOEXEC);
  if (got < 0) return got;
  const cmsghdr* const part = CMSG_FIRSTHDR(&message.header);
  if (part != nullptr && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS &&
      part->cmsg_len == CMSG_LEN(sizeof(int))) {
    int sent = -1;
    std::memcpy(&sent, CMSG_DATA(part), sizeof sent);
    fd = UniqueFd(sent);
  }
  return got;
}

}  // namespace passthroughfs
