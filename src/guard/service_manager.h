// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/fd.h"

namespace passthroughfs {

// Tells the service manager that has started this process how it is, by the protocol of
// sd_notify(3): datagrams of lines to the socket that NOTIFY_SOCKET names. Without libsystemd: that
// would be a dependency of every user of the library for what is one sendto(), and it opens a
// socket and allocates each time, which a guardian does not do. Thread-safe.
class ServiceManager {
 public:
  static constexpr std::array kVariables{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};

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

  // In which the manager wants to be pinged; 0: it does not.
  [[nodiscard]] std::uint64_t watchdog_ns() const noexcept { return watchdog_ns_; }

 private:
  ServiceManager(UniqueFd socket, const sockaddr_un& address, socklen_t size,
                 std::uint64_t watchdog_ns) noexcept
      : socket_(std::move(socket)), address_(address), size_(size), watchdog_ns_(watchdog_ns) {}
  void send(std::string_view lines, int flags) noexcept;

  const UniqueFd socket_;
  const sockaddr_un address_;
  const socklen_t size_;
  const std::uint64_t watchdog_ns_;
  std::atomic<std::uint64_t> pinged_{0};
};

// A value for a line of these: without what would end the line.
[[nodiscard]] std::string one_line(std::string_view text);

}  // namespace passthroughfs
