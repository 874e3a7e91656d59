// SPDX-License-Identifier: Apache-2.0
//
// A process that takes and drops locks as a test tells it.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/run_as.h"
#include "support/trace.h"
#include "support/wait_until.h"

namespace passthroughfs::test {

enum class Op { kOpen, kDup, kClose, kLock, kFlock, kQuit };

// One request to an Actor. Which fields count depends on the operation.
struct Command {
  Op op = Op::kQuit;
  int slot = 0;
  int number = 0;  // open: flags; dup: slot to copy; lock: fcntl command; flock: operation
  short type = 0;  // lock
  off_t start = 0, length = 0;
};

struct Answer {
  int result = 0;
  int error = 0;
  struct flock lock {};
};

// A process that does what it is told with one file, so that a test can order the steps of several.
// It has the file open for reading and writing in slot 0. Answers are "ok" or the errno's name. Not
// thread-safe. The destructor ends the process; what failed in it fails the test.
class Actor {
 public:
  explicit Actor(const std::string& path) {
    std::array<int, 2> ends{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    ours_ = UniqueFd(ends[0]);
    child_ = std::make_unique<Child>([&] { act(ends[1], path); });
    ::close(ends[1]);
    call({.op = Op::kOpen, .slot = 0, .number = O_RDWR});
  }
  ~Actor() { quit(); }

  pid_t pid() const { return child_->pid(); }
  bool waits() const { return child_->sleeps_in(SYS_fcntl) || child_->sleeps_in(SYS_flock); }
  void interrupt() const { child_->signal(SIGUSR1); }
  void kill() {
    child_->kill();
    child_.reset();
  }
  void quit() {
    if (child_ != nullptr) {
      if (waiting_) {  // the test has failed already
        kill();
        return;
      }
      begin({});
      child_->join();
      child_.reset();
    }
  }

  void begin(const Command& command) {
    ASSERT_EQ(send(ours_.get(), &command, sizeof command, MSG_NOSIGNAL),
              static_cast<ssize_t>(sizeof command));
    waiting_ = true;
  }
  Answer finish() {
    Answer answer;
    return wait_until([&] { return finished(answer); }) ? answer : Answer{-1, ETIMEDOUT, {}};
  }
  // Whether what began has ended, and then how.
  bool finished(Answer& answer) {
    if (recv(ours_.get(), &answer, sizeof answer, MSG_DONTWAIT) != sizeof answer) return false;
    waiting_ = false;
    return true;
  }
  Answer call(const Command& command) {
    begin(command);
    return finish();
  }

  // "ok" or the errno.
  static std::string name(const Answer& answer) {
    return answer.result < 0 ? errno_name(answer.error) : "ok";
  }
  std::string open(int slot, int flags) {
    return name(call({.op = Op::kOpen, .slot = slot, .number = flags}));
  }
  std::string close(int slot) { return name(call({.op = Op::kClose, .slot = slot})); }
  std::string dup(int from, int slot) {
    return name(call({.op = Op::kDup, .slot = slot, .number = from}));
  }
  std::string flock(int operation, int slot = 0) {
    return name(call({.op = Op::kFlock, .slot = slot, .number = operation}));
  }
  std::string lock(int command, short type, off_t start = 0, off_t length = 0, int slot = 0) {
    return name(call(lock_command(command, type, start, length, slot)));
  }
  // What F_GETLK or F_OFD_GETLK says stands in the way; pids told apart by `names`.
  std::string obstacle(int command, short type, off_t start, off_t length,
                       const std::vector<std::pair<pid_t, std::string>>& names) {
    const Answer answer = call(lock_command(command, type, start, length, 0));
    if (answer.result < 0) {
      return errno_name(answer.error);
    }
    const struct flock& found = answer.lock;
    if (found.l_type == F_UNLCK) {
      return "none";
    }
    std::string text = found.l_type == F_RDLCK ? "read " : "write ";
    text += std::to_string(found.l_start) + "+" + std::to_string(found.l_len) + " by ";
    for (const auto& [pid, name] : names) {
      if (pid == found.l_pid) {
        return text + name;
      }
    }
    return text + (found.l_pid == -1 ? "-1" : "somebody else");
  }
  static Command lock_command(int command, short type, off_t start = 0, off_t length = 0,
                              int slot = 0) {
    return {.op = Op::kLock,
            .slot = slot,
            .number = command,
            .type = type,
            .start = start,
            .length = length};
  }

 private:
  static void act(int socket, const std::string& path) {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, nullptr);  // without SA_RESTART
    std::array<int, 8> fds{};
    Command command;
    while (recv(socket, &command, sizeof command, 0) == sizeof command && command.op != Op::kQuit) {
      int& fd = fds.at(static_cast<std::size_t>(command.slot));
      Answer answer;
      switch (command.op) {
        case Op::kOpen:
          answer.result = fd = ::open(path.c_str(), command.number | O_CLOEXEC);
          break;
        case Op::kDup:
          answer.result = fd =
              fcntl(fds.at(static_cast<std::size_t>(command.number)), F_DUPFD_CLOEXEC, 0);
          break;
        case Op::kClose: answer.result = ::close(fd); break;
        case Op::kFlock: answer.result = ::flock(fd, command.number); break;
        case Op::kLock:
          answer.lock.l_type = command.type;
          answer.lock.l_whence = SEEK_SET;
          answer.lock.l_start = command.start;
          answer.lock.l_len = command.length;
          answer.result = fcntl(fd, command.number, &answer.lock);
          break;
        case Op::kQuit: break;
      }
      answer.error = errno;
      ASSERT_EQ(send(socket, &answer, sizeof answer, 0), static_cast<ssize_t>(sizeof answer));
    }
  }

  UniqueFd ours_;
  std::unique_ptr<Child> child_;
  bool waiting_ = false;
};

}  // namespace passthroughfs::test
