// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/region.h"
#include "base/result.h"
#include "guard/pulse.h"
#include "guard/service_manager.h"
#include "passthroughfs/result.h"

namespace passthroughfs {

// A process that outlives the one which serves. It makes what has to last (the connection to the
// kernel, the tables in shared memory), and then starts the server as a child that shares its
// descriptor table but has memory of its own (clone with CLONE_FILES and without CLONE_VM). When
// the server dies, every descriptor is still open here; the next server finds the shared memory as
// it was left, and all else as it was when start() was called, and goes on from there.
//
// From start() on the guardian has one thread, opens and closes nothing, and waits. It hands on
// SIGTERM, SIGINT and SIGHUP, which must be blocked, as SIGCHLD will be. If it is killed itself the
// server goes on, without protection.
class Guardian {
 public:
  // In the child, on a thread that is not its first: serves until the mount has ended, and gives
  // the exit code. `again`: a server was there before and has died.
  using Serve = std::function<int(bool again)>;

  // `prepare`: called in each child before it has threads, may be empty. Errors: those of
  // Region::create. Create it, start() and watch() by the process's only thread.
  static Result<std::unique_ptr<Guardian>> create(Serve serve, std::function<void()> prepare);

  // What is done about a server that lives but gives no sign of life; call it before start().
  // `silent_ns`: so long, and it is ended, and another one goes on (0: never). Not one that a
  // debugger has; and one that waits for the disk ends when that answers.
  // `manager`: is told how it is; nullptr: nobody. Must outlive this.
  void look_after(std::uint64_t silent_ns, ServiceManager* manager) noexcept;

  // Every descriptor that is open now is the guardian's and stays what it is. Starts the first
  // server, and returns when that has called ready() or failed(); then the error is failed()'s.
  // EAGAIN, ENOMEM: no process. EIO: each server dies before it serves.
  Outcome<void> start();
  // Waits until the mount has ended; gives the server's exit code. Starts servers as they die,
  // after a pause that grows while they die young. EIO: no server can live; the mount is still
  // there. Others: those of failed().
  Outcome<int> watch();

  // --- In the server, by any thread. Requests are answered from now on.
  void serving() noexcept;
  // So is everything else.
  void ready() noexcept;
  // A sign of life, by the thread that gives them. How often they are wanted, 0: not.
  void beat() noexcept;
  [[nodiscard]] std::uint64_t beat_every_ns() const noexcept { return tick_ns_ / 2; }
  // The mount has ended, and there will be no more of them while the rest is put away.
  void ending() noexcept;
  // There is no use in another try. Does not return.
  [[noreturn]] void failed(const Error& error) noexcept;
  // The mount has ended, as if Serve had returned the code. Does not return.
  [[noreturn]] void ended(int code) noexcept;
  [[nodiscard]] std::span<const int> descriptors() const noexcept { return descriptors_; }
  [[nodiscard]] pid_t guardian_pid() const noexcept { return guardian_; }
  // How many servers there were, this one included.
  [[nodiscard]] std::uint64_t starts() const noexcept;
  // From the death of the server before this one until this one was ready(); nanoseconds, 0: none.
  [[nodiscard]] std::uint64_t last_pause() const noexcept;
  // When the server before this one was found dead, nanoseconds of CLOCK_MONOTONIC; 0: never, or
  // not known. Until serving().
  [[nodiscard]] std::int64_t died() const noexcept;
  // Whether the guardian is there still.
  [[nodiscard]] bool is_watched() const noexcept;

 private:
  struct Page;
  enum class State : std::uint32_t { starting, serving, failed, ended };

  Guardian(Serve serve, std::function<void()> prepare, Region page);
  [[nodiscard]] Page& page() const noexcept;
  Result<void> start_server() noexcept;
  [[noreturn]] void be_server(bool again) noexcept;
  // Waits for the server's end, at most so long (0: for ever). True: it has ended.
  bool wait_for_end(std::uint64_t most_ns) noexcept;
  void hand_on(int signal) noexcept;
  void supervise() noexcept;
  void end_silent(std::uint64_t silence) noexcept;
  void announce() noexcept;
  [[nodiscard]] Error failure() const;

  const Serve serve_;
  const std::function<void()> prepare_;
  Region page_;
  const pid_t guardian_;
  std::vector<int> descriptors_;  // sorted
  std::string oom_score_;         // as it was, and is the server's
  pid_t server_ = 0;
  int status_ = 0;
  bool stop_wanted_ = false;

  std::uint64_t silent_ns_ = 0;
  std::uint64_t tick_ns_ = 0;  // how often to look; 0: never
  ServiceManager* manager_ = nullptr;
  Pulse pulse_{0};
  bool silence_told_ = false;   // of this server
  std::uint64_t ended_at_ = 0;  // when it was given SIGKILL for its silence; 0: it was not
};

}  // namespace passthroughfs
