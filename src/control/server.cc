// SPDX-License-Identifier: Apache-2.0
#include "control/server.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <list>
#include <thread>

#include "base/log.h"
#include "base/thread.h"
#include "control/connection.h"
#include "control/socket_file.h"
#include "control/stream.h"
#include "proto/socket_path.h"

namespace passthroughfs {
namespace {

using Clock = ControlConnection::Clock;
using std::chrono::milliseconds;

class Server final : public ControlServer {
 public:
  Server(SocketFile file, ControlTarget& target, Options options, UniqueFd poller, UniqueFd stop)
      : file_(std::move(file)),
        target_(target),
        options_(std::move(options)),
        poller_(std::move(poller)),
        stop_(std::move(stop)),
        streams_(target_, stop_.borrow()) {}

  ~Server() override {
    if (ChangeQueries* const changes = target_.changes()) changes->interrupt();
    const std::uint64_t one = 1;
    (void)!write(stop_.get(), &one, sizeof one);
    if (thread_.joinable()) thread_.join();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  Result<void> begin() {
    TRY(watch(EPOLL_CTL_ADD, stop_.get(), EPOLLIN, &stop_));
    TRY(watch(EPOLL_CTL_ADD, file_.listener().get(), EPOLLIN, &file_));
    thread_ = start_thread([this] { run(); });
    return ok();
  }

  [[nodiscard]] const std::string& path() const noexcept override { return file_.path(); }

 private:
  Result<void> watch(int operation, int fd, std::uint32_t events, void* tag) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = tag;
    return check_void(epoll_ctl(poller_.get(), operation, fd, &event));
  }

  void run() {
    (void)pthread_setname_np(pthread_self(), "control");
    for (;;) {
      std::array<epoll_event, 16> events;
      const int count =
          epoll_wait(poller_.get(), events.data(), static_cast<int>(events.size()), timeout());
      if (count < 0 && errno != EINTR) {
        log_error("the control socket has failed: {}", Errno::last().to_string());
        return;
      }
      for (int i = 0; i < count; ++i) {
        void* tag = events[static_cast<std::size_t>(i)].data.ptr;
        if (tag == &stop_) return;
        if (tag == &file_) {
          accept_one();
        } else {
          serve(tag);
        }
      }
      close_late_ones();
      if (!listening_ && Clock::now() >= listen_again_) listen_again();
    }
  }

  void accept_one() {
    UniqueFd socket(
        accept4(file_.listener().get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        // The waiting client keeps the listener readable: without a pause this would spin.
        (void)watch(EPOLL_CTL_MOD, file_.listener().get(), 0, &file_);
        listening_ = false;
        listen_again_ = Clock::now() + milliseconds(200);
      }
      return;
    }
    ucred peer{};
    socklen_t size = sizeof peer;
    if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
        (peer.uid != 0 && peer.uid != geteuid())) {
      return;
    }
    while (connections_.size() >= options_.max_clients) {
      connections_.erase(
          std::min_element(connections_.begin(), connections_.end(),
                           [](const auto& a, const auto& b) { return a.since() < b.since(); }));
    }
    const int fd = socket.get();
    ControlConnection& connection = connections_.emplace_back(std::move(socket));
    if (!watch(EPOLL_CTL_ADD, fd, EPOLLIN, &connection)) connections_.pop_back();
  }

  void listen_again() {
    listening_ = true;
    (void)watch(EPOLL_CTL_MOD, file_.listener().get(), EPOLLIN, &file_);
  }

  void serve(const void* tag) {
    // The connection may have been closed by an earlier event of the same batch.
    const auto connection = std::find_if(connections_.begin(), connections_.end(),
                                         [&](const auto& c) { return &c == tag; });
    if (connection == connections_.end()) return;
    auto after = ControlConnection::After::close;
    try {
      after = connection->serve(target_);
      if (after == ControlConnection::After::stream) {
        auto request = connection->take_request();
        (void)watch(EPOLL_CTL_DEL, connection->socket().get(), 0, nullptr);
        streams_.start(connection->take_socket(), *request.command, std::move(request.arguments),
                       std::move(request.sent));
      }
    } catch (const std::exception& error) {  // memory, at worst
      log_warning("a control request failed: {}", error.what());
    }
    if (after != ControlConnection::After::keep) {
      connections_.erase(connection);
      return;
    }
    (void)watch(EPOLL_CTL_MOD, connection->socket().get(),
                connection->is_writing() ? EPOLLOUT : EPOLLIN, &*connection);
  }

  [[nodiscard]] bool is_late(const ControlConnection& connection) const {
    return connection.is_busy() &&
           Clock::now() >= connection.since() + milliseconds(options_.patience_ms);
  }
  void close_late_ones() {
    connections_.remove_if([this](const auto& connection) { return is_late(connection); });
  }

  [[nodiscard]] int timeout() const {
    auto wait = milliseconds::max();
    const auto now = Clock::now();
    auto until = [&](Clock::time_point when) {
      const auto left = std::chrono::ceil<milliseconds>(when - now);
      wait = std::min(wait, std::max(left, milliseconds(0)));
    };
    for (const auto& connection : connections_) {
      if (connection.is_busy()) until(connection.since() + milliseconds(options_.patience_ms));
    }
    if (!listening_) until(listen_again_);
    return wait == milliseconds::max() ? -1 : static_cast<int>(wait.count());
  }

  SocketFile file_;
  ControlTarget& target_;
  const Options options_;
  UniqueFd poller_;
  UniqueFd stop_;
  // The thread's own.
  StreamThreads streams_;
  std::list<ControlConnection> connections_;  // a list: epoll holds their addresses
  bool listening_ = true;
  Clock::time_point listen_again_;

  std::thread thread_;
};

}  // namespace

Outcome<std::unique_ptr<ControlServer>> ControlServer::start(dev_t device, ControlTarget& target,
                                                             Options options) {
  auto file = SocketFile::create(
      device, options.directories.empty() ? socket_directories(geteuid()) : options.directories);
  if (!file) return file.error();
  UniqueFd poller(epoll_create1(EPOLL_CLOEXEC));
  UniqueFd stop(eventfd(0, EFD_CLOEXEC));
  auto server = std::make_unique<Server>(std::move(file).value(), target, std::move(options),
                                         std::move(poller), std::move(stop));
  if (auto begun = server->begin(); !begun) {
    return Error{begun.error().value(), "no control socket: " + begun.error().to_string()};
  }
  return std::unique_ptr<ControlServer>(std::move(server));
}

}  // namespace passthroughfs
