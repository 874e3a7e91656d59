// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/fd.h"
#include "base/mutex.h"
#include "changes/record.h"

namespace passthroughfs {

// What has changed and is not in the journal's database yet: a ring in a mapped file, so that it
// outlives this process however that ends. Not the machine: after a power loss its content counts
// for nothing.
//
// Serving threads append; one reader at a time takes records out in their order and gives the room
// back once they are safe elsewhere. An operation whose outcome decides what there is to record
// (names) leaves an intent beforehand, in a slot of its own, which a successor finds if the process
// ends in between. Thread-safe but for the reader.
//
// When the reader falls behind, records wait in memory; who appends never waits. Such records would
// be lost with the process, which a successor can tell (lost()).
class ChangeLog {
 public:
  static constexpr std::size_t kRingBytes = 4U << 20;
  static constexpr std::size_t kMostSpilled = 256U << 20;  // bytes in memory, then records get lost

  // Opens or makes the log file and locks it against other mounts. `journal`: the identity of the
  // database that it belongs to; a log of another one, or of an earlier run of this machine
  // (boot), is emptied. Errors: EBUSY: in use; EINVAL: the file is not a change log, it was left
  // untouched; ENOSPC and others of the system calls.
  static Result<std::unique_ptr<ChangeLog>> open(const std::string& path, std::uint64_t journal);
  // The same in memory, for a journal that ends with the process.
  static Result<std::unique_ptr<ChangeLog>> in_memory();
  ~ChangeLog();
  ChangeLog(const ChangeLog&) = delete;
  ChangeLog& operator=(const ChangeLog&) = delete;

  // What open() found.
  enum class Found {
    nothing,  // new, or closed in order: nothing was left to do
    records,  // its process was killed: its records and intents are there
    stale,    // of an earlier boot, so that nothing in it can be trusted
  };
  [[nodiscard]] Found found() const noexcept { return found_; }
  // When the last record was appended, or it was closed in order: nanoseconds of CLOCK_REALTIME;
  // 0: not known. Of what open() found, also if it has been emptied.
  [[nodiscard]] std::int64_t last_word() const noexcept { return last_word_; }
  // Records are missing: the process was killed while some waited in memory, or had no room.
  [[nodiscard]] bool lost() const noexcept;
  void forget_loss() noexcept;

  // The epoch in which changes are recorded now. Grows.
  [[nodiscard]] std::uint64_t epoch() const noexcept;
  void set_epoch(std::uint64_t epoch) noexcept;

  void append(ByteSpan record) noexcept PFS_EXCLUDES(mutex_);

  // An operation in progress. Its record is found by a successor between arm() and its end.
  class Intent {
   public:
    Intent() noexcept = default;
    Intent(Intent&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
    Intent& operator=(Intent&& other) noexcept {
      if (this != &other) {
        end();
        slot_ = std::exchange(other.slot_, nullptr);
      }
      return *this;
    }
    ~Intent() { end(); }

    [[nodiscard]] MutableByteSpan room() const noexcept;
    void arm(std::size_t bytes) noexcept;
    void end() noexcept;

   private:
    friend class ChangeLog;
    struct Slot;
    explicit Intent(Slot* slot) noexcept : slot_(slot) {}
    Slot* slot_ = nullptr;
  };
  // Waits when all slots are in use, which takes more threads at once than anybody runs.
  [[nodiscard]] Intent begin() noexcept;

  // --- the reader -------------------------------------------------------------------------------

  // The position of the first record that has not been released. Positions grow for ever.
  [[nodiscard]] std::uint64_t position() const noexcept;
  // Calls `visit` for each record from `from` on, until the moment's end; gives the position after
  // the last one.
  std::uint64_t read(std::uint64_t from, const std::function<void(ByteSpan)>& visit);
  // The records before `position` are safe elsewhere.
  void release(std::uint64_t position) noexcept PFS_EXCLUDES(mutex_);
  // Visits the intents that a killed process has left, and clears them. Before anybody serves.
  void take_intents(const std::function<void(ByteSpan)>& visit);
  // Everything is safe elsewhere; the next open() finds nothing, and `now` as the last word. Nobody
  // may append any more.
  void close_in_order(std::int64_t now) noexcept;

  // Waits for a record, or wake(), or the deadline.
  void wait(std::chrono::steady_clock::time_point deadline) noexcept PFS_EXCLUDES(mutex_);
  // Waits for the deadline, wake(), or until the ring is half full.
  void gather(std::chrono::steady_clock::time_point deadline) noexcept PFS_EXCLUDES(mutex_);
  void wake() noexcept PFS_EXCLUDES(mutex_);
  // Whether there are records that have not been read.
  [[nodiscard]] bool is_empty(std::uint64_t from) noexcept PFS_EXCLUDES(mutex_);

 private:
  struct Header;
  ChangeLog(UniqueFd file, std::byte* memory, std::size_t bytes) noexcept;
  static Result<std::unique_ptr<ChangeLog>> map(UniqueFd file);
  void reset(std::uint64_t journal) noexcept;
  [[nodiscard]] Header& header() const noexcept;
  [[nodiscard]] Intent::Slot& slot(std::size_t index) const noexcept;
  [[nodiscard]] std::byte* ring() const noexcept;
  bool put(ByteSpan record) noexcept PFS_REQUIRES(mutex_);

  UniqueFd file_;
  std::byte* const memory_;
  const std::size_t bytes_;
  Found found_ = Found::nothing;
  std::int64_t last_word_ = 0;

  Mutex mutex_;
  ConditionVariable changed_;
  bool waiting_ PFS_GUARDED_BY(mutex_) = false;
  bool gathering_ PFS_GUARDED_BY(mutex_) = false;
  bool woken_ PFS_GUARDED_BY(mutex_) = false;
  std::deque<std::string> spilled_ PFS_GUARDED_BY(mutex_);
  std::size_t spilled_bytes_ PFS_GUARDED_BY(mutex_) = 0;
  // The reader's: records that waited in memory and are not released yet, and where they belong.
  std::deque<std::string> taken_;
  std::uint64_t taken_at_ = 0;
};

}  // namespace passthroughfs
