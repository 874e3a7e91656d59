// SPDX-License-Identifier: Apache-2.0
//
// Descriptors as passengers of bytes on a unix socket (SCM_RIGHTS, unix(7)).
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <span>
#include <string_view>

#include "base/fd.h"

namespace passthroughfs {

// Borrowed: it must outlive the call.
struct SocketAddress {
  const sockaddr* address = nullptr;
  socklen_t size = 0;
};

// As send(2) with MSG_NOSIGNAL; `fd` goes along with the first byte, -1: none does. It stays the
// caller's. `to`: for a socket that is not connected.
ssize_t send_with_fd(BorrowedFd socket, std::string_view bytes, int fd,
                     SocketAddress to = {}) noexcept;

// As recv(2) with `flags`. A descriptor that came along is put into `fd` (close-on-exec), in the
// place of what is there; only the first is taken, the kernel closes others.
ssize_t receive_with_fd(BorrowedFd socket, std::span<char> room, int flags, UniqueFd& fd) noexcept;

}  // namespace passthroughfs
