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

#include "base/fd.h"
#include "base/handover.h"
#include "base/region.h"
#include "base/regions.h"
#include "base/result.h"
#include "guard/leftovers.h"
#include "guard/process.h"
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
// SIGTERM, SIGINT and SIGHUP. Beside it waits a deputy, another such child, which takes its place
// if it is killed itself: it returns from watch() then, as the guardian would have.
//
// A server can ask that another program takes over: watch() gives Ended::replace then.
class Guardian {
 public:
  // Of its memory, in a Handover. Every process of the mount has that mapped, and no other.
  static constexpr const char* kPageName = "passthroughfs-guardian";

  struct Calls {
    // In the child, on a thread that is not its first: serves until the mount has ended, and gives
    // the exit code. `again`: a server was there before.
    std::function<int(bool again)> serve;
    // In each child before it has threads; may be empty.
    std::function<void()> prepare;
    // In the guardian: whether the program behind a descriptor could take over. It may make other
    // processes, takes seconds at most, and gives up as soon as `wanted` says no. Empty: none can.
    std::function<Outcome<void>(int program, const std::function<bool()>& wanted)> try_program;
  };

  // `from`: what the guardian of another program has left, or nullptr. Errors: those of
  // Regions::make. Create it, start() and watch() by the process's only thread.
  static Result<std::unique_ptr<Guardian>> create(Calls calls, const Handover* from);

  // What is done about a server that lives but gives no sign of life; call it before start().
  // `silent_ns`: so long, and it is ended, and another one goes on (0: never). Not one that a
  // debugger has; and one that waits for the disk ends when that answers.
  // `manager`: is told how it is; nullptr: nobody. Must outlive this.
  void look_after(std::uint64_t silent_ns, ServiceManager* manager) noexcept;

  // Every descriptor that is open now is the guardian's and stays what it is, but for `not_ours`
  // (sorted). Starts the first server, and returns when that has called ready() or failed(); then
  // the error is failed()'s. EAGAIN, ENOMEM: no process. EIO: each server dies before it serves.
  // ETIMEDOUT: none served within `most_ns` (0: as long as it takes); it is gone.
  Outcome<void> start(std::span<const int> not_ours = {}, std::uint64_t most_ns = 0);

  struct Ended {
    int code = 0;          // the server's exit code
    bool replace = false;  // the mount goes on: another program is to take over, see program()
  };
  // Waits until the mount has ended, again if a program that was to take over did not. Starts
  // servers as they die, after a pause that grows while they die young. EIO: no server can live;
  // the mount is still there. Others: those of failed().
  Outcome<Ended> watch();

  // The program that is to take over; the descriptor is this process's.
  [[nodiscard]] int program() const noexcept;
  // Before another program takes over: notes what its guardian has to know.
  void leave_to(Handover& handover) const;
  // `from` of create() is what was left of a mount whose processes are all gone: forgets what was
  // going on between them. Before start().
  void renew() noexcept;
  // It has tried and could not, or has taken over. For who asks afterwards.
  void note_upgrade(std::string_view failure) noexcept;
  // It has not taken over after all.
  void take_back_upgrade() noexcept;
  // Closes a descriptor that the guardian had at start(), while a server runs.
  void let_go_of(int fd) noexcept;

  // --- In the server, by any thread. Requests are answered from now on.
  void serving() noexcept;
  // So is everything else.
  void ready() noexcept;
  // A sign of life, by the thread that gives them. How often they are wanted, 0: not.
  void beat() noexcept;
  [[nodiscard]] std::uint64_t beat_every_ns() const noexcept { return tick_ns_ / 2; }
  // A thread of the name kNotifierName begins, or has ended, calls that nothing ends but the answer
  // to a client. A server that is killed in one of them counts as gone as soon as nothing else is
  // left of it, for the answer is the next one's to give.
  void dropping(bool begun) noexcept;
  // The mount has ended, and there will be no more of them while the rest is put away.
  void ending() noexcept;
  // There is no use in another try. Does not return.
  [[noreturn]] void failed(const Error& error) noexcept;
  // The mount has ended, as if Calls::serve had returned the code. Does not return.
  [[noreturn]] void ended(int code) noexcept;
  // Whether another program could take over; if so, the next end of this server, whatever it is, is
  // the moment. Waits for the guardian's answer. `program` (a descriptor) is the guardian's from
  // then on. By one thread at a time. Errors: ECHILD: the guardian is gone; those of try_program.
  Outcome<void> ask_for_upgrade(int program);
  // Does not return: the program that was agreed upon takes over.
  [[noreturn]] void leave_to_program() noexcept;
  [[nodiscard]] std::span<const int> descriptors() const noexcept { return descriptors_; }
  [[nodiscard]] pid_t guardian_pid() const noexcept;
  [[nodiscard]] pid_t deputy_pid() const noexcept;
  // How many servers there were, this one included.
  [[nodiscard]] std::uint64_t starts() const noexcept;
  // From the death of the server before this one until this one was ready(); nanoseconds, 0: none.
  [[nodiscard]] std::uint64_t last_pause() const noexcept;
  // When the server before this one was found dead, nanoseconds of CLOCK_MONOTONIC; 0: never, or
  // not known. Until serving().
  [[nodiscard]] std::int64_t died() const noexcept;
  // Whether the guardian, or its deputy, is there still.
  [[nodiscard]] bool is_watched() const noexcept;
  // How many programs took over from another, and why the last one that tried could not ("").
  [[nodiscard]] std::uint64_t upgrades() const noexcept;
  [[nodiscard]] std::string upgrade_failure() const;

 private:
  struct Page;
  enum class State : std::uint32_t { starting, serving, failed, ended, replaced };
  enum class Upgrade : std::uint32_t { none, asked, refused, agreed };

  Guardian(Calls calls, Region page, const Handover* from);
  [[nodiscard]] Page& page() const noexcept;
  Result<void> start_server() noexcept;
  void start_next_server() noexcept;
  [[noreturn]] void be_server(bool again) noexcept;
  void start_deputy() noexcept;
  void take_guardians_place() noexcept;
  void tell_of_place() noexcept;
  void leave_stop() const noexcept;
  void end_deputy() noexcept;
  // Waits for the server's end, at most so long (0: for ever). True: it has ended. False also when
  // it has something to say.
  bool wait_for_end(std::uint64_t most_ns) noexcept;
  bool server_has_ended() noexcept;
  [[nodiscard]] std::string end_of_server() const;
  void kill_server() noexcept;
  void answer_request() noexcept;
  void supervise() noexcept;
  void end_silent(std::uint64_t silence) noexcept;
  void announce() noexcept;
  [[nodiscard]] Error failure() const;

  const Calls calls_;
  Region page_;
  WatchedSignals signals_;
  std::vector<int> descriptors_;  // sorted
  std::string oom_score_;         // as it was, and is the server's
  pid_t server_ = 0;
  bool adopted_ = false;  // the server, from a guardian that was killed
  std::uint64_t adopted_at_ = 0;
  bool place_told_ = true;  // that this was a deputy
  UniqueFd server_end_;     // of such a one
  pid_t deputy_ = 0;
  int status_ = 0;
  bool only_waited_ = false;  // the server for the next one, so there is no status_ of it
  Leftovers leftovers_;
  bool stop_wanted_ = false;

  std::uint64_t silent_ns_ = 0;
  std::uint64_t tick_ns_ = 0;  // how often to look; 0: never
  ServiceManager* manager_ = nullptr;
  Pulse pulse_{0};
  bool silence_told_ = false;   // of this server
  std::uint64_t ended_at_ = 0;  // when it was given SIGKILL for its silence; 0: it was not
};

}  // namespace passthroughfs
