// SPDX-License-Identifier: Apache-2.0
//
// Test code in child processes: as another user, at the same time, or to be killed.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "support/trace.h"

namespace passthroughfs::test {

struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups = {};
};

// Numbers that no account of the machine has.
inline const Identity kRoot{0, 0, {}};
inline const Identity kAlice{50001, 50001, {}};
inline const Identity kBob{50002, 50002, {}};

// A forked child that runs `body`. What fails in it (EXPECT_, ASSERT_, an exception, a signal)
// becomes a failure of the test that forked it, when it is joined. The child leaves by _exit, so
// no destructor of the test runs in it. Not copyable, not thread-safe.
class Child {
 public:
  // Runs with all rights of the test.
  explicit Child(const std::function<void()>& body);
  // Runs as that user: groups, gid and uid set for good, no capability left unless uid is 0.
  Child(const Identity& who, const std::function<void()>& body);
  // Kills the child if it was not joined.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }

  // True when the child sleeps inside system call `number` now.
  bool sleeps_in(long number) const;

  // Waits for the end (with a deadline; then it is killed and the test fails) and reports what
  // failed in it. Returns true when nothing did.
  bool join();

  // SIGKILL, then waits. Fails the test when it does not die in time.
  void kill();
  void signal(int number) const;

 private:
  bool wait(int* status) const;

  pid_t pid_ = -1;
  int report_ = -1;
};

// Fork, run, join.
void run_as(const Identity& who, const std::function<void()>& body);
void in_child(const std::function<void()>& body);

// The same for code that keeps a trace: its lines are added to `trace`.
void run_as(const Identity& who, Trace& trace, const std::function<void(Trace&)>& body);
void in_child(Trace& trace, const std::function<void(Trace&)>& body);

// Lets processes wait for one another. Made before the fork; each pass() lets one wait() through.
class Gate {
 public:
  Gate();
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  void pass(unsigned count = 1) const;
  // False when nobody passed within the deadline.
  bool wait() const;

 private:
  int fd_ = -1;
};

}  // namespace passthroughfs::test
