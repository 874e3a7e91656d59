// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/mutex.h"
#include "base/region.h"
#include "changes/change_log.h"
#include "changes/record.h"
#include "table/inode_table.h"

namespace passthroughfs {

// What the source's file system tells about changes.
struct SourceTraits {
  // Each change after a look at an inode gives it other times, however soon it comes. Otherwise
  // times are those of a clock tick, and equal ones prove nothing for that long.
  bool fine_times = false;
  // Of the root's file system only; what is mounted inside may be otherwise.
  std::uint64_t root_device = 0;
  // Stores through a mapping need not show in the times: the pages are never written back, so that
  // the kernel does not watch for them.
  bool silent_mappings = false;
};

// What operations tell of the changes that they are about to make. Thread-safe. Every call is one
// of a few memory writes, unless it is the first of its kind for an inode in an epoch; then it
// costs a statx more.
//
// All calls need the daemon's own identity: none may be made while acting as the caller.
class ChangeTracker {
 public:
  // `log` and `inodes` must outlive the tracker. Errors: those of Region::create.
  // `capacity`: of the inode table.
  static Result<std::unique_ptr<ChangeTracker>> create(ChangeLog& log, InodeTable& inodes,
                                                       std::uint32_t capacity, SourceTraits traits);

  [[nodiscard]] const SourceTraits& traits() const noexcept { return traits_; }

  // Reading an inode's attributes as they are before a change. Unknown if that fails.
  [[nodiscard]] Stamp stamp_of(BorrowedFd fd) const noexcept;
  [[nodiscard]] Stamp stamp(const struct statx& st) const noexcept;

  // An open for writing whose writes are not seen. `readable`: it can be mapped for writing. `fd`:
  // the open file.
  void opens(const InodeRef& inode, BorrowedFd fd, bool readable) noexcept;
  // The inode is new and has no content that anybody knew: nothing more needs to be said of it in
  // this epoch.
  void made(const InodeRef& inode) noexcept;
  // A file without a name was made.
  void made_nameless(const InodeRef& inode, std::uint32_t mode) noexcept;

  // What an epoch's beginning asks about a file that may be written unseen: as opens(), but
  // whatever was said before in this epoch.
  void asks_again(const InodeRef& inode, BorrowedFd fd, bool mappable) noexcept;

 private:
  friend class NamesChange;
  friend class InodeChange;

  // What has been said of an inode: by slot, private to the process.
  struct Said {
    std::atomic<std::uint64_t> node;
    std::atomic<std::uint64_t> marks;  // epoch << 9 | kLocated | marks
  };
  static constexpr std::uint64_t kLocated = 1U << 8;
  static constexpr unsigned kEpochShift = 9;

  ChangeTracker(ChangeLog& log, InodeTable& inodes, SourceTraits traits, Region said) noexcept
      : log_(log), inodes_(inodes), traits_(traits), said_region_(std::move(said)) {}

  [[nodiscard]] Said& said(const InodeRef& inode) const noexcept;
  // Whether all of `marks` have been said of the inode in this epoch.
  [[nodiscard]] bool is_said(const InodeRef& inode, std::uint64_t epoch,
                             std::uint8_t marks) const noexcept;
  void say(const InodeRef& inode, BorrowedFd fd, std::uint64_t epoch, std::uint8_t marks,
           bool again) noexcept;
  // The inode's node number if its place is not known to the journal yet, now held for it; else 0.
  std::uint64_t hold_for_place(const InodeRef& inode) noexcept;
  void tell_place(const InodeRef& directory) noexcept;

  ChangeLog& log_;
  InodeTable& inodes_;
  const SourceTraits traits_;
  Region said_region_;
  std::array<Mutex, 64> mutexes_;  // by inode: the first word about it in an epoch
};

// A change of an inode itself, said before it is made, for the scope of the call that makes it.
// Does nothing without a tracker.
class InodeChange {
 public:
  // `fd`: the inode's, of any kind. `marks`: as in record.h.
  InodeChange(ChangeTracker* tracker, const InodeRef& inode, BorrowedFd fd,
              std::uint8_t marks) noexcept;
  // If an epoch began meanwhile, the change may have come after: it is said again.
  ~InodeChange();
  InodeChange(const InodeChange&) = delete;
  InodeChange& operator=(const InodeChange&) = delete;

 private:
  ChangeTracker* const tracker_;
  const InodeRef& inode_;
  const std::uint8_t marks_;
  std::uint64_t epoch_ = 0;
  ChangeLog::Intent intent_;
};

// A change of names: what is about to happen first, then, if it did, that it did. The kernel holds
// the locks of the directories over both. Does nothing without a tracker.
class NamesChange {
 public:
  explicit NamesChange(ChangeTracker* tracker) noexcept : tracker_(tracker) {}
  NamesChange(const NamesChange&) = delete;
  NamesChange& operator=(const NamesChange&) = delete;

  // One of these, before the call. Names end in NUL. creates(): something new; links(): a further
  // name of something.
  void creates(const InodeRef& directory, std::string_view name) noexcept;
  void links(const InodeRef& directory, std::string_view name) noexcept;
  void removes(const InodeRef& directory, std::string_view name) noexcept;
  // `flags`: as renameat2's.
  void moves(const InodeRef& from, std::string_view old_name, const InodeRef& to,
             std::string_view new_name, unsigned flags) noexcept;

  // After the call succeeded, before it is answered: of removes() and moves(); of creates() and
  // links(), with what has the name now; of creates(), if that could not be looked up.
  void happened() noexcept;
  void made(const InodeRef& inode) noexcept;
  void made_unseen(const InodeRef& directory) noexcept;

 private:
  bool set(Binding& binding, const InodeRef& directory, std::string_view name) noexcept;
  void look(Binding& binding, const InodeRef& directory, bool replaced) noexcept;
  void arm() noexcept;
  void append() noexcept;

  ChangeTracker* const tracker_;
  NamesRecord record_;
  const InodeRef* whiteout_ = nullptr;  // where the old name gets one
  ChangeLog::Intent intent_;
};

}  // namespace passthroughfs
