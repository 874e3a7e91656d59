// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "base/result.h"

namespace passthroughfs {

// Where the journal of a source (an absolute path) is kept when nobody says otherwise: below
// $XDG_STATE_HOME/passthroughfs, else /var/lib/passthroughfs for root and
// ~/.local/state/passthroughfs for others. The directory is made if need be, for its owner alone.
// Errors: those of mkdir(2); ENOENT: no home is known.
[[nodiscard]] Result<std::string> default_journal_file(const std::string& source);

// A directory in memory that only this user can look into, removed with all that is in it by the
// process that made it. Move-only.
class MemoryDirectory {
 public:
  // Errors: those of mkdtemp on /dev/shm.
  static Result<MemoryDirectory> create();
  // One that another program in this process has made.
  static MemoryDirectory adopt(std::string path) noexcept;
  MemoryDirectory(MemoryDirectory&& other) noexcept
      : path_(std::exchange(other.path_, {})), owner_(other.owner_) {}
  MemoryDirectory& operator=(MemoryDirectory&&) = delete;
  ~MemoryDirectory();
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  MemoryDirectory(std::string path, pid_t owner) : path_(std::move(path)), owner_(owner) {}
  std::string path_;
  pid_t owner_;
};

}  // namespace passthroughfs
