// SPDX-License-Identifier: Apache-2.0
//
// What each serving thread has in hand, in memory that outlives the process: so that its successor
// can tell, for a request that the kernel sends again, what has been done for it already.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/bytes.h"
#include "base/mutex.h"
#include "base/regions.h"
#include "base/result.h"

namespace passthroughfs {

// One thread's request. Written by that thread alone, in the order that the comments give, so that
// a successor makes sense of every state in between. Processes, not machines, fail here: what was
// stored is there, in the order of the program, and only the compiler must be kept from reordering.
struct alignas(64) Ledger {
  enum Phase : std::uint32_t {
    kServing = 1,  // the request may have been carried out, in part or as a whole
    kAnswering,    // carried out; the answer may have been sent
    kWaiting,      // to be carried out after others
    kTakingBack,   // the client did not get the answer: what it handed over is being taken back
  };

  // --- The request. Set last, cleared first. Without the mark of a resent one. 0: none.
  std::atomic<std::uint64_t> unique;
  std::atomic<std::uint32_t> phase;
  std::uint32_t opcode;
  std::uint64_t node;
  std::int64_t began;      // when it was first begun, nanoseconds of CLOCK_REALTIME_COARSE
  std::int64_t attempted;  // when this process began it, nanoseconds of CLOCK_MONOTONIC_COARSE
  std::uint32_t deaths;    // of processes that were serving it
  std::uint32_t blame;     // for them, see Recovery::blame_for()

  // --- A change of a lookup count that is being made, see CountChange.
  std::atomic<std::uint32_t> counted_slot;  // of the inode; 0: none. Set last, cleared first
  std::uint32_t counted_how;
  std::uint32_t counted_at;
  std::uint64_t counted_before;
  std::uint64_t counted_after;

  // --- What the answer hands over.
  std::atomic<std::uint32_t> granted;    // lookup counts: so many of Ledgers::grants()
  std::atomic<std::uint32_t> forgotten;  // of a FORGET: so many entries are done
  std::atomic<std::uint64_t> handle;     // fh; 0: none

  // The last request that is over: what is found of it in the room has been done.
  std::atomic<std::uint64_t> finished;

  // --- What the operation noted before it began (OpContext::note_subject).
  std::uint64_t subject_device;
  std::uint64_t subject_ino;

  std::atomic<std::uint32_t> used;  // ever, see Ledgers::used()

  // --- The answer, if it must not be made twice. Complete when phase is kAnswering.
  std::uint32_t has_result;
  std::int32_t result_error;
  std::uint32_t result_bytes;
  static constexpr std::size_t kResultRoom = 176;
  std::array<std::byte, kResultRoom> result;
};
static_assert(sizeof(Ledger) == 320);

// The ledger of the request that this thread serves, and where it lists what it grants; nullptr:
// none is kept.
struct LedgerInHand {
  Ledger* ledger = nullptr;
  std::uint32_t* grants = nullptr;
};
[[nodiscard]] LedgerInHand& ledger_in_hand() noexcept;

// A change of one inode's lookup count by this thread's request, made under the lock that guards
// the count, so that nobody else changes it meanwhile: begin it, store the new count, end it. A
// successor undoes or completes what it finds in between. Without a ledger it does nothing.
class CountChange {
 public:
  enum How : std::uint32_t {
    kGrant = 1,  // one more, for the answer to hand over
    kForget,     // FORGET: fewer
    kTakeBack,   // one less: the answer will not hand it over
  };
  CountChange(How how, std::uint32_t slot, std::uint64_t before, std::uint64_t after) noexcept;
  void end() noexcept;

  // What the count is to be, of a change that a dead process has left; ends it.
  struct Settled {
    std::uint32_t slot;  // 0: there is none
    std::uint64_t count;
  };
  static Settled settle(Ledger& ledger, std::uint32_t* grants) noexcept;

 private:
  const LedgerInHand in_hand_;
};

// All ledgers of a mount. take() and give_back() are thread-safe; the rest is of the owner's
// thread, or of a process that takes over before any other thread exists.
class Ledgers {
 public:
  // READDIRPLUS hands over the most: an answer of 1 MiB has room for fewer entries.
  static constexpr std::size_t kMostGrants = 8192;

  // `room`: bytes per ledger that a queue reads requests into, a multiple of the page size; 0:
  // none. Errors: those of Regions::make.
  static Result<std::unique_ptr<Ledgers>> create(std::uint32_t capacity, std::size_t room,
                                                 Regions& regions);
  static Result<std::unique_ptr<Ledgers>> create(std::uint32_t capacity, std::size_t room) {
    Regions regions;
    return create(capacity, room, regions);
  }

  // One that nobody uses and that has nothing left to say; nullptr: there is none.
  [[nodiscard]] Ledger* take() noexcept PFS_EXCLUDES(mutex_);
  void give_back(Ledger& ledger) noexcept PFS_EXCLUDES(mutex_);
  // Gives the memory for requests back of all that nobody has and that have nothing left to say:
  // each process takes the first that are free, and so one after the other would keep it.
  void free_unused_rooms() noexcept PFS_EXCLUDES(mutex_);

  // So many of the first have ever been taken: the others, and their rooms, are best not even
  // looked at, because a look makes memory of them, two thousand times.
  [[nodiscard]] std::uint32_t used() const noexcept;

  // The slots of the inodes whose lookup counts go with the answer.
  [[nodiscard]] std::uint32_t* grants(const Ledger& ledger) const noexcept;
  // Memory for requests; empty if none was asked for.
  [[nodiscard]] MutableByteSpan room(const Ledger& ledger) const noexcept;

  [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] Ledger& at(std::uint32_t index) const noexcept;
  [[nodiscard]] std::uint32_t index_of(const Ledger& ledger) const noexcept;

 private:
  Ledgers(std::uint32_t capacity, std::size_t room, Region ledgers, Region grants,
          std::unique_ptr<Region> rooms) noexcept;

  const std::uint32_t capacity_;
  const std::size_t room_;
  Region ledgers_;
  Region grants_;
  std::unique_ptr<Region> rooms_;
  Mutex mutex_;
  // Private to the process: a ledger that a dead process has left in use is free in here, and is
  // not taken while its `unique` says that there is something to say.
  std::unique_ptr<bool[]> taken_ PFS_GUARDED_BY(mutex_);
};

}  // namespace passthroughfs
