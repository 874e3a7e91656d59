// SPDX-License-Identifier: Apache-2.0
//
// Names: making, linking, renaming and removing them.
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "exec.h"

namespace passthroughfs::difftest {

Result exec_mkdir(Agent& agent, const Op& op) {
  const auto mode = static_cast<mode_t>(op.a);
  const bool unmasked = agent.fault == Fault::kUmask;
  const mode_t mask = unmasked ? umask(0) : 0;
  Result result = outcome(mkdirat(agent.at(op.dir), op.path.c_str(), mode));
  if (unmasked) umask(mask);
  return result;
}

Result exec_rmdir(Agent& agent, const Op& op) {
  Result result = outcome(unlinkat(agent.at(op.dir), op.path.c_str(), AT_REMOVEDIR));
  if (agent.fault == Fault::kWrongErrno && result.error == ENOTEMPTY) result.error = EEXIST;
  return result;
}

Result exec_unlink(Agent& agent, const Op& op) {
  return outcome(unlinkat(agent.at(op.dir), op.path.c_str(), 0));
}

Result exec_link(Agent& agent, const Op& op) {
  return outcome(linkat(agent.at(op.dir), op.path.c_str(), agent.at(op.dir2), op.path2.c_str(),
                        static_cast<int>(op.a)));
}

Result exec_link_fd(Agent& agent, const Op& op) {
  const std::string source = "self/fd/" + std::to_string(agent.fd(op.fd));
  return outcome(
      linkat(agent.proc, source.c_str(), agent.at(op.dir), op.path.c_str(), AT_SYMLINK_FOLLOW));
}

Result exec_symlink(Agent& agent, const Op& op) {
  return outcome(symlinkat(op.name.c_str(), agent.at(op.dir), op.path.c_str()));
}

Result exec_readlink(Agent& agent, const Op& op) {
  std::string target(static_cast<std::size_t>(op.a), '\0');
  Result result =
      outcome(readlinkat(agent.at(op.dir), op.path.c_str(), target.data(), target.size()));
  if (result.value >= 0) {
    target.resize(static_cast<std::size_t>(result.value));
    result.detail = " target=" + target;
  }
  return result;
}

Result exec_rename(Agent& agent, const Op& op) {
  return outcome(syscall(SYS_renameat2, agent.at(op.dir), op.path.c_str(), agent.at(op.dir2),
                         op.path2.c_str(), op.a));
}

Result exec_mknod(Agent& agent, const Op& op) {
  return outcome(mknodat(agent.at(op.dir), op.path.c_str(), static_cast<mode_t>(op.a),
                         makedev(1, static_cast<unsigned>(op.b))));
}

Result exec_umask(Agent&, const Op& op) { return outcome(umask(static_cast<mode_t>(op.a))); }

}  // namespace passthroughfs::difftest
