// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace passthroughfs {

// A small process that unmounts on request. The serving process gives up the right to gain rights
// by exec, which fusermount3 (setuid root) needs; this child, forked before that, keeps it. It
// holds nothing but one socket and ends with the last copy of the other end. Not thread-safe.
class UnmountHelper {
 public:
  // Fork it before threads exist and before /dev/fuse is open: a copy of that descriptor in another
  // process would keep the connection alive after the daemon's death.
  static Result<std::unique_ptr<UnmountHelper>> start();
  // The same, of the program that was here before this one.
  static std::unique_ptr<UnmountHelper> adopt(UniqueFd socket, pid_t child) {
    return std::unique_ptr<UnmountHelper>(new UnmountHelper(std::move(socket), child));
  }
  [[nodiscard]] int socket() const noexcept { return socket_.get(); }
  [[nodiscard]] pid_t child() const noexcept { return child_; }

  // Ends the child and waits for it.
  ~UnmountHelper();
  UnmountHelper(const UnmountHelper&) = delete;
  UnmountHelper& operator=(const UnmountHelper&) = delete;

  // As unmount() in channel/mount.h. EPIPE: the helper is gone.
  Result<void> unmount(const std::string& mountpoint, bool lazy);

 private:
  UnmountHelper(UniqueFd socket, pid_t child) : socket_(std::move(socket)), child_(child) {}

  UniqueFd socket_;
  pid_t child_;
};

}  // namespace passthroughfs
