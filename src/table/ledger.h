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
#include "base/region.h"
#include "base/result.h"

namespace passthroughfs {

// One thread's request. Written by that thread alone, in the order that the comments give; every
// state in between can be found by a successor. Processes, not machines, fail here: what was stored
// is there, in the order of the program, so that only the compiler must be kept from reordering.
struct alignas(64) Ledger {
  enum Phase : std::uint32_t {
    kIdle = 0,
    kServing,     // the request may have been carried out, in part or as a whole
    kAnswering,   // carried out; the answer may have been sent
    kTakingBack,  // the client did not get the answer: what it handed over is being taken back
  };

  // --- The request. `unique` is set last and cleared first. 0: none.
  std::atomic<std::uint64_t> unique;  // without the mark of a resent one
  std::atomic<std::uint32_t> phase;
  std::uint32_t opcode;
  std::uint64_t node;
  std::int64_t began;    // when it was first begun, nanoseconds of CLOCK_REALTIME_COARSE
  std::uint32_t deaths;  // of processes that were serving it

  // --- A change of a lookup count, from before it until it is in `granted` (or `forgotten`).
  std::atomic<std::uint32_t> counted_slot;  // of the inode; 0: none. Set last, cleared first
  std::uint32_t counted_at;                 // the value of granted or forgotten before
  std::uint64_t counted_before;             // the inode's count before
  std::uint64_t counted_after;

  // --- What the answer will hand over.
  std::atomic<std::uint32_t> granted;    // lookup counts: so many of Ledgers::grants()
  std::atomic<std::uint32_t> forgotten;  // of a BATCH_FORGET: so many entries are done
  std::atomic<std::uint64_t> handle;     // fh; 0: none

  // --- What an operation noted before it began, see Repeat in ops/context.h.
  std::uint64_t subject_device;
  std::uint64_t subject_ino;

  // --- The answer, if it must not be made twice. Complete when phase is kAnswering.
  std::uint32_t has_result;
  std::int32_t result_error;
  std::uint32_t result_bytes;
  static constexpr std::size_t kResultRoom = 176;
  std::array<std::byte, kResultRoom> result;

  // --- Not of the request: how much of `room` (Ledgers::room) a FORGET there may still have to say
  // is told by the room itself.
};
static_assert(sizeof(Ledger) == 320);

// The ledger of the request that this thread serves; nullptr: none is kept.
[[nodiscard]] Ledger* this_ledger() noexcept;
void set_this_ledger(Ledger* ledger) noexcept;

// All ledgers of a mount. take() and give_back() are thread-safe; the rest is of the owner's
// thread, or of a process that takes over before any other thread exists.
class Ledgers {
 public:
  // READDIRPLUS hands over the most: an answer of 1 MiB has room for fewer entries.
  static constexpr std::size_t kMostGrants = 8192;

  // `room`: bytes per ledger that a queue reads requests into, a multiple of the page size; 0:
  // none. Errors: those of Region::create.
  static Result<std::unique_ptr<Ledgers>> create(std::uint32_t capacity, std::size_t room);

  // One that nobody uses and that has nothing left to say; nullptr: there is none.
  [[nodiscard]] Ledger* take() noexcept PFS_EXCLUDES(mutex_);
  void give_back(Ledger& ledger) noexcept PFS_EXCLUDES(mutex_);

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
  // not taken until its `unique` and its room say that nothing is left to say.
  std::unique_ptr<bool[]> taken_ PFS_GUARDED_BY(mutex_);
};

}  // namespace passthroughfs
