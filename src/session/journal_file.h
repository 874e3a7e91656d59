// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "base/fd.h"
#include "base/result.h"

namespace passthroughfs {

// Where the journal of a source (an absolute path) is kept when nobody says otherwise: below
// $XDG_STATE_HOME/passthroughfs, else /var/lib/passthroughfs for root and
// ~/.local/state/passthroughfs for others. The directory is made if need be, for its owner alone.
// Errors: those of mkdir(2); ENOENT: no home is known.
[[nodiscard]] Result<std::string> default_journal_file(const std::string& source);

// A directory in memory that only this user can look into. It is locked for as long as a process
// has its descriptor open, also after this one's end: whoever makes the next one removes those that
// nobody has locked, because all processes of a mount may be killed at once. Move-only.
class MemoryDirectory {
 public:
  // Errors: those of mkdtemp, open and flock on /dev/shm.
  static Result<MemoryDirectory> create();
  // One that another program in this process has made. `lock`: none, if that one knew of none.
  static MemoryDirectory adopt(std::string path, UniqueFd lock) noexcept;
  MemoryDirectory(MemoryDirectory&& other) noexcept
      : path_(std::exchange(other.path_, {})),
        lock_(std::move(other.lock_)),
        owner_(other.owner_) {}
  MemoryDirectory& operator=(MemoryDirectory&&) = delete;
  // Removes it if this is the process that made it: others have copies of this object, and whoever
  // adopts one may have to give it back.
  ~MemoryDirectory();
  // Removes it with all that is in it, whoever made it.
  void remove() noexcept;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] BorrowedFd lock() const noexcept { return lock_.borrow(); }

 private:
  MemoryDirectory(std::string path, UniqueFd lock, pid_t owner)
      : path_(std::move(path)), lock_(std::move(lock)), owner_(owner) {}
  std::string path_;
  UniqueFd lock_;
  pid_t owner_;  // 0: of no process
};

}  // namespace passthroughfs
