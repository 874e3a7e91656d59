// SPDX-License-Identifier: Apache-2.0
#include "control/stream.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <thread>

#include "base/log.h"

namespace passthroughfs {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kBehind{1};

constexpr auto kStreamCommands = std::to_array<StreamCommand>({
    {"checkpoint", control::checkpoint},
    {"forget", control::forget},
    {"dirty", control::dirty},
    {"watch", control::watch},
    {"upgrade", control::upgrade},
});

}  // namespace

const StreamCommand* find_stream_command(std::string_view name) noexcept {
  for (const StreamCommand& command : kStreamCommands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

// False: the client has gone, or the server ends.
bool ControlStream::wait_for(short events, int timeout_ms) {
  std::array<pollfd, 2> waited{{{socket_.get(), events, 0}, {stop_.get(), POLLIN, 0}}};
  for (;;) {
    const int ready = ::poll(waited.data(), waited.size(), timeout_ms);
    if (ready < 0 && errno == EINTR) continue;
    return ready >= 0 && waited[1].revents == 0 && (waited[0].revents & (POLLERR | POLLHUP)) == 0;
  }
}

bool ControlStream::send(const Json& line) {
  const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
  std::string_view rest = text;
  const Clock::time_point begun = Clock::now();
  while (!rest.empty()) {
    const ssize_t n = ::send(socket_.get(), rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
      rest.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno != EINTR && (errno != EAGAIN || !wait_for(POLLOUT, -1))) {
      return false;
    }
  }
  if (Clock::now() - begun >= kBehind) behind_ = true;
  return true;
}

bool ControlStream::is_wanted(std::chrono::milliseconds wait) {
  return wait_for(0, static_cast<int>(wait.count()));
}

bool StreamThreads::Running::begin() {
  const MutexLock lock(mutex);
  if (count >= kMost) return false;
  ++count;
  return true;
}

void StreamThreads::Running::end() {
  const MutexLock lock(mutex);
  --count;
  fewer.notify_all();
}

StreamThreads::~StreamThreads() {
  const MutexLock lock(running_->mutex);
  while (running_->count != 0) running_->fewer.wait(running_->mutex);
}

void StreamThreads::start(UniqueFd socket, const StreamCommand& command, Json arguments,
                          UniqueFd sent) {
  if (!running_->begin()) {
    ControlStream refused(std::move(socket), stop_);
    (void)control::send_error(refused, {EBUSY, "too many such commands are running"});
    return;
  }
  try {
    std::thread([&target = target_, stop = stop_, running = running_, &command,
                 connection = std::move(socket), asked = std::move(arguments),
                 descriptor = std::move(sent)]() mutable {
      (void)pthread_setname_np(pthread_self(), "control");
      try {
        ControlStream lines(std::move(connection), stop, std::move(descriptor));
        command.run(target, asked, lines);
      } catch (const std::exception& error) {  // memory, at worst
        log_warning("a control request failed: {}", error.what());
      }
      running->end();
    }).detach();
  } catch (const std::system_error& error) {
    running_->end();
    log_warning("no thread for a control request: {}", error.what());
  }
}

namespace control {

bool send_error(ControlStream& stream, const Error& error) {
  Json line;
  line["error"] = Json{{"code", error.code}, {"message", error.message}};
  return stream.send(line);
}

ChangeQueries* changes_of(ControlTarget& target, ControlStream& stream) {
  ChangeQueries* const changes = target.changes();
  if (changes == nullptr) {
    (void)send_error(stream, {EOPNOTSUPP, "this mount keeps no record of changes (journal=off)"});
  }
  return changes;
}

}  // namespace control
}  // namespace passthroughfs
