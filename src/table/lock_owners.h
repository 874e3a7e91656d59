// SPDX-License-Identifier: Apache-2.0
//
// The owners of POSIX locks in memory that outlives the process. Their locks are held by open file
// descriptions, which outlive it as well; what is lost with the process is whose they are.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "table/inode_table.h"
#include "table/slot_table.h"

namespace passthroughfs {

// The end of a lock that reaches as far as files can.
inline constexpr std::uint64_t kLockToEnd =
    static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());

// A part of a file that is locked. `end` is inclusive; `type`: F_RDLCK or F_WRLCK.
struct LockRange {
  std::uint64_t start, end;
  std::uint32_t type, pid;
};

// One owner on one inode. Lives in the shared region, so it holds no pointers. Fields without
// atomics are constant from publication to the end. The descriptor is the record's as long as that
// is live: it comes to live after the open and is retired before the close.
struct alignas(64) LockOwnerRecord : SlotHead {
  std::int32_t fd;
  NodeId node;
  std::uint64_t owner;
  std::atomic<std::uint64_t> fh;
  std::atomic<std::uint32_t> pid;  // of the latest lock
  std::uint8_t inexact;            // shares its description with other owners
  // What it has locked, as far as the process came to know. kMany: more than there is room for, or
  // it is being changed.
  static constexpr std::size_t kMostRanges = 4;
  static constexpr std::uint8_t kMany = 0xff;
  std::atomic<std::uint8_t> ranges;
  std::array<std::uint8_t, kMostRanges> types;
  std::array<std::uint64_t, kMostRanges> starts, ends;
};
static_assert(sizeof(LockOwnerRecord) == 128);

class LockOwners;

// An owner's descriptor, and its record if those are kept. Its end is the end of all locks that it
// holds. Move-only.
class LockDescriptor {
 public:
  LockDescriptor() noexcept = default;
  // Without a record.
  explicit LockDescriptor(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  LockDescriptor(LockDescriptor&& other) noexcept
      : fd_(std::move(other.fd_)),
        owners_(other.owners_),
        record_(std::exchange(other.record_, nullptr)) {}
  LockDescriptor& operator=(LockDescriptor&& other) noexcept;
  LockDescriptor(const LockDescriptor&) = delete;
  LockDescriptor& operator=(const LockDescriptor&) = delete;
  ~LockDescriptor() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_.get(); }
  [[nodiscard]] BorrowedFd borrow() const noexcept { return fd_.borrow(); }

  // For the record; nothing is written that is there already.
  void note_claim(std::uint64_t fh, std::uint32_t pid) noexcept;
  void note_ranges(const std::vector<LockRange>& ranges) noexcept;

 private:
  friend class LockOwners;
  LockDescriptor(UniqueFd fd, LockOwners& owners, LockOwnerRecord& record) noexcept
      : fd_(std::move(fd)), owners_(&owners), record_(&record) {}
  void reset() noexcept;

  UniqueFd fd_;
  LockOwners* owners_ = nullptr;
  LockOwnerRecord* record_ = nullptr;
};

// The records. Thread-safe. Must go after every LockDescriptor.
class LockOwners {
 public:
  // Room for `capacity` owners (address space only). Errors: those of Regions::make. EUCLEAN: a
  // program before this one has left something else.
  static Result<std::unique_ptr<LockOwners>> create(std::uint32_t capacity, Regions& regions);

  struct Origin {
    NodeId node;
    std::uint64_t owner;
    std::uint64_t fh;
    std::uint32_t pid;
    bool inexact;
  };
  // ENOLCK: no record is free.
  [[nodiscard]] Result<LockDescriptor> add(UniqueFd fd, const Origin& origin) noexcept;

  // What a successor finds of an owner.
  struct Found {
    Origin origin;
    std::vector<LockRange> ranges;  // never empty
    LockDescriptor descriptor;
  };
  // For a process that takes over: every owner that holds locks. The descriptors of others are
  // closed. What is locked is asked of the kernel, which does not know it where the source is a
  // FUSE file system that keeps locks itself, or if it cannot be asked (EMFILE): such an owner is
  // taken to have read-locked the whole file, and to be inexact. A record whose descriptor is not
  // open on its node's file, as `is_open_on` says, is damaged and ends. EUCLEAN: the memory is not
  // what was left in it. std::bad_alloc.
  using IsOpenOn = std::function<bool(int fd, NodeId node)>;
  Result<std::vector<Found>> recover(const IsOpenOn& is_open_on);
  [[nodiscard]] Result<void> check() const noexcept { return slots_.check(); }

  // See InodeTable::forget_descriptors(). recover() leaves such records to take_again().
  void forget_descriptors() noexcept;
  // After recover(): takes the locks of such records again. `open` gives a descriptor for an owner.
  // What could not be had goes to `lost`, and nothing of it is held. std::bad_alloc.
  using Open = std::function<Result<UniqueFd>(const Origin& origin)>;
  std::vector<Found> take_again(const Open& open, std::vector<Origin>& lost);

  template <typename Visit>
  void for_each_descriptor(Visit&& visit) const {
    for (std::uint32_t slot = kFirst; slot < slots_.high_water(); ++slot) {
      const LockOwnerRecord& record = slots_.at(slot);
      if (slots_.is_live(record) && record.fd >= 0) visit(record.fd);
    }
  }

 private:
  friend class LockDescriptor;
  explicit LockOwners(Region region) noexcept : slots_(std::move(region), kFirst) {}
  void remove(LockOwnerRecord& record) noexcept;

  static constexpr std::uint32_t kFirst = 1;  // 0 ends the list of free slots
  SlotTable<LockOwnerRecord> slots_;
};

// What the open file description has locked by F_OFD_SETLK, as the kernel tells; the pid, which it
// does not know, is the given one.
Result<std::vector<LockRange>> locked_ranges(BorrowedFd fd, std::uint32_t pid);

}  // namespace passthroughfs
