// SPDX-License-Identifier: Apache-2.0
//
// Locks of all three sorts, never waiting.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "exec.h"

namespace passthroughfs::difftest {
namespace {

// A pid as the agent that has it.
std::string owner(const Agent& agent, pid_t pid) {
  for (std::size_t i = 0; i < agent.board->pids.size(); ++i) {
    if (pid > 0 && agent.board->pids[i] == pid) return "agent" + std::to_string(i);
  }
  return pid == -1 ? "-1" : pid == 0 ? "0" : "other";
}

// A lock of an open file that only a mapping keeps open; see exceptions().
bool may_outlive_close(const Agent& agent, int fd) {
  if (agent.profile != Profile::kPassthrough) return false;
  struct stat st {};
  if (fstat(fd, &st) != 0) return false;
  const SideBoard::Known* known = agent.board->find(st.st_ino);
  return known != nullptr && known->ever_mapped;
}

}  // namespace

Result exec_lock(Agent& agent, const Op& op) {
  // A daemon cannot open an immutable file to lock it for writing.
  if (agent.board->locked) return {.value = kNotMade};
  if (may_outlive_close(agent, agent.fd(op.fd))) return {.value = kNotMade};
  struct stat st {};  // see exceptions() about the size of directories
  if (op.d == SEEK_END && fstat(agent.fd(op.fd), &st) == 0 && S_ISDIR(st.st_mode)) {
    return {.value = kNotMade};
  }
  struct flock lock {};
  lock.l_type = static_cast<short>(op.a);
  lock.l_whence = static_cast<short>(op.d);
  lock.l_start = op.b;
  lock.l_len = op.c;
  const bool ofd = op.kind == Kind::kOfdSetLk || op.kind == Kind::kOfdGetLk;
  const bool get = op.kind == Kind::kGetLk || op.kind == Kind::kOfdGetLk;
  const int command = get ? (ofd ? F_OFD_GETLK : F_GETLK) : (ofd ? F_OFD_SETLK : F_SETLK);
  Result result = outcome(fcntl(agent.fd(op.fd), command, &lock));
  if (get && result.value == 0) {
    result.detail = " type=" + show_value(lock.l_type, Show::kLockType);
    if (lock.l_type != F_UNLCK) {
      result.detail += " start=" + std::to_string(lock.l_start) +
                       " length=" + std::to_string(lock.l_len) +
                       " owner=" + owner(agent, lock.l_pid);
    }
  }
  return result;
}

Result exec_flock(Agent& agent, const Op& op) {
  if (may_outlive_close(agent, agent.fd(op.fd))) return {.value = kNotMade};
  return outcome(flock(agent.fd(op.fd), static_cast<int>(op.a) | LOCK_NB));
}

}  // namespace passthroughfs::difftest
