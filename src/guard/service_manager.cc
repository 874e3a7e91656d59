// SPDX-License-Identifier: Apache-2.0
#include "guard/service_manager.h"

#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/errno.h"
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
      new ServiceManager(std::move(socket), address, static_cast<socklen_t>(size), usec * 1000));
}

void ServiceManager::send(std::string_view lines, int flags) noexcept {
  (void)::sendto(socket_.get(), lines.data(), lines.size(), flags | MSG_NOSIGNAL,
                 reinterpret_cast<const sockaddr*>(&address_), size_);
}

void ServiceManager::note(std::string_view lines) noexcept { send(lines, MSG_DONTWAIT); }

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
