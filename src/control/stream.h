// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "base/fd.h"
#include "base/mutex.h"
#include "control/target.h"
#include "proto/messages.h"

namespace passthroughfs {

// The connection of one client that gets lines for as long as its command lasts. Used by the
// command's thread only.
class ControlStream {
 public:
  // `stop`: becomes readable when the server ends.
  // `sent`: the last descriptor that came with the request, if any.
  ControlStream(UniqueFd socket, BorrowedFd stop, UniqueFd sent = {})
      : socket_(std::move(socket)), stop_(stop), sent_(std::move(sent)) {}

  [[nodiscard]] UniqueFd take_sent() noexcept { return std::move(sent_); }

  // Sends a line, and waits as long as the client does not read. False: the client has gone, or the
  // server ends.
  bool send(const Json& line);
  // Whether a line had to wait for the client for a second or longer, since the last such call.
  bool take_behind() noexcept { return std::exchange(behind_, false); }
  // False: the client has gone, or the server ends. Waits so long at most.
  bool is_wanted(std::chrono::milliseconds wait);

 private:
  bool wait_for(short events, int timeout_ms);

  UniqueFd socket_;
  BorrowedFd stop_;
  UniqueFd sent_;
  bool behind_ = false;
};

// A command that may take long: it has a thread and a connection of its own.
struct StreamCommand {
  std::string_view name;
  void (*run)(ControlTarget& target, const Json& arguments, ControlStream& stream);
};
[[nodiscard]] const StreamCommand* find_stream_command(std::string_view name) noexcept;

namespace control {

void checkpoint(ControlTarget& target, const Json& arguments, ControlStream& stream);
void forget(ControlTarget& target, const Json& arguments, ControlStream& stream);
void dirty(ControlTarget& target, const Json& arguments, ControlStream& stream);
void watch(ControlTarget& target, const Json& arguments, ControlStream& stream);
void upgrade(ControlTarget& target, const Json& arguments, ControlStream& stream);

// The record of changes, or the error line that says that there is none was sent: nullptr.
ChangeQueries* changes_of(ControlTarget& target, ControlStream& stream);
bool send_error(ControlStream& stream, const Error& error);

}  // namespace control

// The threads of such commands, which are detached: nobody has to notice that one has ended, and
// the process may end at any moment (upgrade). Used by one thread.
class StreamThreads {
 public:
  static constexpr std::size_t kMost = 16;

  // `stop`: as for ControlStream. `target` outlives this.
  StreamThreads(ControlTarget& target, BorrowedFd stop) : target_(target), stop_(stop) {}
  // The streams have been told to end; waits for them.
  ~StreamThreads();
  StreamThreads(const StreamThreads&) = delete;
  StreamThreads& operator=(const StreamThreads&) = delete;

  // Takes over a connection whose request was read. There may be too many, which the client is
  // told.
  void start(UniqueFd socket, const StreamCommand& command, Json arguments, UniqueFd sent);

 private:
  // The last that a thread touches, so it must not go before.
  struct Running {
    Mutex mutex;
    ConditionVariable fewer;
    std::size_t count PFS_GUARDED_BY(mutex) = 0;

    bool begin() PFS_EXCLUDES(mutex);  // false: there are too many
    void end() PFS_EXCLUDES(mutex);
  };

  ControlTarget& target_;
  BorrowedFd stop_;
  const std::shared_ptr<Running> running_ = std::make_shared<Running>();
};

}  // namespace passthroughfs
