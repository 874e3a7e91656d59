// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/result.h"
#include "source/file_handle.h"

namespace passthroughfs {

// What somebody has done to a file system, as fanotify(7) tells it. Several things that were done
// to one object by one process may have become one event.
struct ChangeEvent {
  bool lost = false;        // some were not told, or cannot be understood; nothing else is set then
  pid_t process = 0;        // who did it, as seen from here; 0: nobody whom this process can see
  bool names = false;       // `name` in `directory` was made, removed or is another object's now
  bool data = false;        // the content of `object`
  bool attributes = false;  // its attributes
  std::optional<FileHandle> object;     // of names: what has, or had, the name
  std::optional<FileHandle> directory;  // with names
  std::string_view name;                // with names; a NUL follows it in the event's memory
};

// The next event of what ChangeEvents::read() has given, which is taken off `rest`; nullopt: there
// are no more. Pure; takes any bytes. The name lies in the memory that `rest` shows.
[[nodiscard]] std::optional<ChangeEvent> next_change(ByteSpan& rest) noexcept;

// Changes of one file system, by whoever makes them and wherever it is mounted: but for those of
// data that come through one mount of it. Needs CAP_SYS_ADMIN. Thread-safe.
//
// Not told, by fanotify(7): stores through a mapping, until the last of it ends; access times; what
// other machines do. Events wait in the kernel without limit.
class ChangeEvents {
 public:
  // Whether this process may watch any file system at all. Errors: as of open().
  static Result<void> probe() noexcept;
  // `directory` (O_PATH is enough): on the mount of whose data nothing is to be heard, and nobody
  // else's. `message`: one line for the user. EPERM: no CAP_SYS_ADMIN; EOPNOTSUPP, ENODEV, EXDEV:
  // the file system has no file handles, or none that tell its parts apart; EMFILE, ENOMEM.
  static Result<ChangeEvents> open(BorrowedFd directory, std::string& message);
  // What a process before this one has opened, that it was told of by descriptor(). EBADF: it is
  // something else.
  static Result<ChangeEvents> adopt(UniqueFd events, BorrowedFd directory);

  // What is to be parsed by next_change(); empty: nothing has happened. Never waits: poll
  // descriptor(). Errors: of read(2), as good as ChangeEvent::lost.
  [[nodiscard]] Result<ByteSpan> read(MutableByteSpan room) const noexcept;

  // An O_PATH descriptor of what a handle names. ESTALE: it is gone.
  [[nodiscard]] Result<UniqueFd> find(const FileHandle& handle) const noexcept {
    return handle.open(mount_.borrow());
  }

  [[nodiscard]] int descriptor() const noexcept { return events_.get(); }
  // Gives it up without closing it, for adopt().
  [[nodiscard]] int release() noexcept { return events_.release(); }

 private:
  ChangeEvents(UniqueFd events, UniqueFd mount) noexcept
      : events_(std::move(events)), mount_(std::move(mount)) {}

  UniqueFd events_;
  UniqueFd mount_;  // not O_PATH, for open_by_handle_at(2)
};

}  // namespace passthroughfs
