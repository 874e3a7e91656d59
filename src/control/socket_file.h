// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/fd.h"
#include "passthroughfs/result.h"

namespace passthroughfs {

// A listening socket at its well-known place; the name disappears with this object. Not
// thread-safe.
class SocketFile {
 public:
  // Creates the directory if needed. A stale socket of the same name (an earlier mount had this
  // device number) is replaced. `directories`: where to try, best first.
  static Outcome<SocketFile> create(dev_t device, const std::vector<std::string>& directories);
  SocketFile(SocketFile&& other) noexcept = default;
  SocketFile& operator=(SocketFile&&) = delete;
  ~SocketFile();

  [[nodiscard]] BorrowedFd listener() const noexcept { return listener_.borrow(); }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  SocketFile() = default;
  static Result<SocketFile> create_in(const std::string& directory, const std::string& name);

  UniqueFd listener_;
  UniqueFd directory_;
  std::string name_;
  std::string parent_;
  std::string path_;  // for people
  ino_t inode_ = 0;
};

}  // namespace passthroughfs
