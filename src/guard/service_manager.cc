// SPDX-License-Identifier: Apache-2.0
#include "guard/service_manager.h"

#include <fcntl.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sstream>
#include <string>

#include "base/errno.h"
#include "base/fd_passing.h"
#include "base/log.h"

namespace passthroughfs {
namespace {

// A variable, which is then gone.
std::string take(const char* name) {
  const char* const value = std::getenv(name);
  std::string text = value == nullptr ? "" : value;
  (void)::unsetenv(name);
  return text;
}

std::uint64_t number(const std::string& text) noexcept {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end ? value : 0;
}

}  // namespace

std::unique_ptr<ServiceManager> ServiceManager::from_environment() {
  const std::string name = take("NOTIFY_SOCKET");
  const std::string period = take("WATCHDOG_USEC");
  const std::string watched = take("WATCHDOG_PID");
  const std::string kept = take("FDSTORE");
  if (name.empty()) return nullptr;

  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // '@' stands for the zero byte of a name without a file.
  if ((name[0] != '/' && name[0] != '@') || name.size() < 2 ||
      name.size() >= sizeof address.sun_path) {
    log_warning("NOTIFY_SOCKET is of a kind that is not understood: the manager is not told");
    return nullptr;
  }
  std::memcpy(address.sun_path, name.data(), name.size());
  if (name[0] == '@') address.sun_path[0] = '\0';
  // The name of a file includes its zero byte, an abstract one is as long as it is.
  const std::size_t size = offsetof(sockaddr_un, sun_path) + name.size() + (name[0] == '/' ? 1 : 0);

  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) {
    log_warning("no socket to tell the service manager: {}", Errno::last().to_string());
    return nullptr;
  }
  const timeval patience{.tv_sec = 5, .tv_usec = 0};
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  const bool ours = watched.empty() || number(watched) == static_cast<std::uint64_t>(::getpid());
  constexpr std::uint64_t kMostUsec = 86'400'000'000;
  const std::uint64_t usec = ours ? std::min(number(period), kMostUsec) : 0;
  return std::unique_ptr<ServiceManager>(
      new ServiceManager(std::move(socket), address, static_cast<socklen_t>(size), usec * 1000,
                         kept.empty() ? std::nullopt : std::optional(number(kept))));
}

void ServiceManager::send(std::string_view lines, int flags) noexcept {
  (void)::sendto(socket_.get(), lines.data(), lines.size(), flags | MSG_NOSIGNAL,
                 reinterpret_cast<const sockaddr*>(&address_), size_);
}

void ServiceManager::note(std::string_view lines) noexcept { send(lines, MSG_DONTWAIT); }

// FDPOLL=0: a manager that polls the connection to the kernel is woken by every request, and it
// cannot poll the root of the source at all.
Result<void> ServiceManager::store(const std::string& name, int fd) noexcept {
  return name_to_store("FDSTORE=1\nFDPOLL=0", name, fd);
}

Result<void> ServiceManager::discard(const std::string& name) noexcept {
  return name_to_store("FDSTOREREMOVE=1", name, -1);
}

Result<void> ServiceManager::name_to_store(std::string_view lines, const std::string& name,
                                           int fd) noexcept {
  try {
    const std::string message = std::string(lines) + "\nFDNAME=" + name;
    const SocketAddress to{reinterpret_cast<const sockaddr*>(&address_), size_};
    if (send_with_fd(socket_.borrow(), message, fd, to) < 0) return Errno::last();
    return ok();
  } catch (const std::bad_alloc&) {
    return Err(ENOMEM);
  }
}

std::map<std::string, int> kept_descriptors() {
  constexpr int kFirst = 3;
  const auto variable = [](const char* name) {
    const char* const value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  std::map<std::string, int> out;
  if (number(variable("LISTEN_PID")) != static_cast<std::uint64_t>(::getpid())) return out;
  const std::uint64_t count = number(variable("LISTEN_FDS"));
  std::istringstream names(variable("LISTEN_FDNAMES"));
  std::string name;
  for (std::uint64_t i = 0; i < count && std::getline(names, name, ':'); ++i) {
    const int fd = kFirst + static_cast<int>(i);
    if (::fcntl(fd, F_GETFD) >= 0) out.emplace(name, fd);
  }
  return out;
}

// At half of the period, give or take the time between two calls of this.
void ServiceManager::ping(std::uint64_t now) noexcept {
  if (watchdog_ns_ == 0) return;
  const std::uint64_t before = pinged_.load();
  if (before != 0 && now - before < watchdog_ns_ * 3 / 8) return;
  pinged_.store(now);
  send("WATCHDOG=1", MSG_DONTWAIT);
}

std::string one_line(std::string_view text) {
  std::string out(text.substr(0, 400));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return out;
}

}  // namespace passthroughfs
