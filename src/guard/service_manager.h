// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/fd.h"
#include "base/result.h"

namespace passthroughfs {

// Tells the service manager that has started this process how it is, by the protocol of
// sd_notify(3): datagrams of lines to the socket that NOTIFY_SOCKET names. Without libsystemd: that
// would be a dependency of every user of the library for what is one sendto(), and it opens a
// socket and allocates each time, which a guardian does not do. Thread-safe.
class ServiceManager {
 public:
  static constexpr std::array kVariables{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                         "FDSTORE"};

  // nullptr: nobody wants to be told. Takes the variables out of the environment, which is not the
  // children's: call it before threads exist.
  static std::unique_ptr<ServiceManager> from_environment();

  // Lines such as "READY=1" or "STATUS=serving", as many as fit 1 KiB. Nothing is said of failure:
  // there is nobody who could do anything about it. Waits at most for a few seconds.
  void tell(std::string_view lines) noexcept { send(lines, 0); }
  // The same where something else is more urgent. Never waits: a manager that does not read hears
  // nothing.
  void note(std::string_view lines) noexcept;
  // "WATCHDOG=1", if that is due; `now`: nanoseconds of a clock that only goes forward. Never
  // waits.
  void ping(std::uint64_t now) noexcept;

  // A descriptor that it is to keep, and to hand to the next start of this service by that name
  // (kept_descriptors). Names: printable, without ':'. Whether it is kept nobody says. Errors:
  // those of sendmsg; EAGAIN: it does not listen, which took some seconds.
  Result<void> store(const std::string& name, int fd) noexcept;
  // That it need not keep all of that name any longer. Likewise.
  Result<void> discard(const std::string& name) noexcept;
  // How many it keeps; nullopt: it has not said so (systemd does from version 254 on).
  [[nodiscard]] std::optional<std::uint64_t> room() const noexcept { return room_; }

  // In which the manager wants to be pinged; 0: it does not.
  [[nodiscard]] std::uint64_t watchdog_ns() const noexcept { return watchdog_ns_; }

 private:
  ServiceManager(UniqueFd socket, const sockaddr_un& address, socklen_t size,
                 std::uint64_t watchdog_ns, std::optional<std::uint64_t> room) noexcept
      : socket_(std::move(socket)),
        address_(address),
        size_(size),
        watchdog_ns_(watchdog_ns),
        room_(room) {}
  void send(std::string_view lines, int flags) noexcept;
  Result<void> name_to_store(std::string_view lines, const std::string& name, int fd) noexcept;

  const UniqueFd socket_;
  const sockaddr_un address_;
  const socklen_t size_;
  const std::uint64_t watchdog_ns_;
  const std::optional<std::uint64_t> room_;
  std::atomic<std::uint64_t> pinged_{0};
};

// What an earlier start of this service has left with the manager, by name: LISTEN_FDNAMES. Empty:
// nothing, or not for this process. The descriptors are not closed on exec unless the caller sees
// to it. The environment stays as it is.
[[nodiscard]] std::map<std::string, int> kept_descriptors();

// A value for a line of these: without what would end the line.
[[nodiscard]] std::string one_line(std::string_view text);

}  // namespace passthroughfs
