// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/kcmp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "base/fd_passing.h"

namespace passthroughfs::test {

// A service manager with a store of descriptors. It has to listen all the time: a socket holds no
// more than a few messages.
class FakeManager {
 public:
  explicit FakeManager(std::string path) : path_(std::move(path)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    socket_ = UniqueFd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    thread_ = std::thread([this] { listen(); });
  }
  ~FakeManager() {
    stop_.store(true);
    thread_.join();
  }
  FakeManager(const FakeManager&) = delete;
  FakeManager& operator=(const FakeManager&) = delete;

  std::string variable() const { return "NOTIFY_SOCKET=" + path_; }
  std::vector<std::pair<std::string, int>> kept() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<std::pair<std::string, int>> out;
    for (const auto& [name, fd] : kept_) out.emplace_back(name, fd.get());
    return out;
  }
  int kept(const std::string& wanted) const {
    for (const auto& [name, fd] : kept()) {
      if (name == wanted) return fd;
    }
    return -1;
  }
  void lose(const std::string& name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::erase_if(kept_, [&](const auto& one) { return one.first == name; });
  }
  bool was_told(const std::string& text) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::any_of(told_.begin(), told_.end(), [&](const std::string& message) {
      return message.find(text) != std::string::npos;
    });
  }
  void forget_what_was_told() {
    const std::lock_guard<std::mutex> lock(mutex_);
    told_.clear();
  }

 private:
  void listen() {
    while (!stop_.load()) {
      pollfd waited{socket_.get(), POLLIN, 0};
      if (poll(&waited, 1, 10) != 1) continue;
      std::array<char, 4096> text{};
      UniqueFd fd;
      const ssize_t got = receive_with_fd(socket_.borrow(), text, 0, fd);
      if (got <= 0) continue;
      take({text.data(), static_cast<std::size_t>(got)}, std::move(fd));
    }
  }
  // Of such systemd keeps only the first.
  static bool same_open_file(int one, int other) {
    const pid_t self = getpid();
    return syscall(SYS_kcmp, self, self, KCMP_FILE, one, other) == 0;
  }
  void take(const std::string& text, UniqueFd fd) {
    const std::lock_guard<std::mutex> lock(mutex_);
    told_.push_back(text);
    const std::size_t at = text.find("FDNAME=");
    const std::string name = at == std::string::npos ? "" : text.substr(at + 7);
    if (text.starts_with("FDSTORE=1\n")) {
      EXPECT_TRUE(fd.valid());
      EXPECT_NE(text.find("\nFDPOLL=0\n"), std::string::npos) << "it would be polled";
      for (const auto& [other, kept] : kept_) {
        EXPECT_FALSE(same_open_file(kept.get(), fd.get())) << name << " is " << other << " again";
      }
      kept_.emplace_back(name, std::move(fd));
    } else if (text.starts_with("FDSTOREREMOVE=1\n")) {
      std::erase_if(kept_, [&](const auto& one) { return one.first == name; });
    }
  }

  std::string path_;
  UniqueFd socket_;
  mutable std::mutex mutex_;
  std::vector<std::pair<std::string, UniqueFd>> kept_;
  std::vector<std::string> told_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace passthroughfs::test
