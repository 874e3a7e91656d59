// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/trace.h"
#include "support/wait_until.h"

namespace passthroughfs::test {

// The manager's end of NOTIFY_SOCKET.
class NotifySocket {
 public:
  // `name`: a path, or '@' and an abstract name.
  explicit NotifySocket(std::string name) : name_(std::move(name)) {
    address_.sun_family = AF_UNIX;
    std::memcpy(address_.sun_path, name_.data(), name_.size());
    if (name_[0] == '@') address_.sun_path[0] = '\0';
    size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size() +
                                   (name_[0] == '@' ? 0 : 1));
    socket_ = UniqueFd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    EXPECT_EQ(setsockopt(socket_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address_), size_), 0)
        << errno_name(errno);
  }
  std::string variable() const { return "NOTIFY_SOCKET=" + name_; }

  // Whether a message with this text comes, among others, which are lost.
  bool hears(const std::string& text, std::chrono::milliseconds within = patience()) {
    return wait_until(within, [&] {
      for (std::string message = take(); !message.empty(); message = take()) {
        if (message.find(text) != std::string::npos) return true;
      }
      return false;
    });
  }
  void forget() {
    while (!take().empty()) {
    }
  }
  // Nobody can send anything, until somebody hears or forgets.
  void fill() {
    const UniqueFd other(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    while (sendto(other.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&address_), size_) ==
           1) {
    }
    EXPECT_EQ(errno_name(errno), "EAGAIN");
  }
  // Of the last message.
  pid_t sender() const { return sender_; }

 private:
  std::string take() {
    std::array<char, 4096> text{};
    std::array<char, CMSG_SPACE(sizeof(ucred))> control{};
    iovec part{text.data(), text.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t got = recvmsg(socket_.get(), &message, 0);
    if (got <= 0) return "";
    if (const cmsghdr* header = CMSG_FIRSTHDR(&message)) {
      ucred who{};
      std::memcpy(&who, CMSG_DATA(header), sizeof who);
      sender_ = who.pid;
    }
    return {text.data(), static_cast<std::size_t>(got)};
  }

  std::string name_;
  sockaddr_un address_{};
  socklen_t size_ = 0;
  UniqueFd socket_;
  pid_t sender_ = 0;
};

}  // namespace passthroughfs::test
