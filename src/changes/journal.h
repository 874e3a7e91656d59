// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "changes/census.h"
#include "changes/change_log.h"
#include "changes/change_queries.h"
#include "changes/places.h"
#include "changes/recorder.h"
#include "changes/store.h"
#include "changes/tracker.h"
#include "changes/unseen_writes.h"
#include "table/handle_table.h"

namespace passthroughfs {

// The record of changes of one mount: a thread of its own brings what the log says into the
// database, and questions are answered from there. Thread-safe once started.
//
// Locks: one mutex over the database, held by the thread while it writes and by each question; no
// serving thread ever takes it. See docs/dirty-tracking.md.
class ChangeJournal final : public ChangeQueries {
 public:
  struct Options {
    std::string file;    // the database; "": in memory
    std::string source;  // as the user knows it; a journal belongs to one source
    // For a process that takes a mount over from one that has died: mount_epoch() there; 0: nobody
    // has died. And what may be mapped for writing, held in the inode table for the journal.
    std::uint64_t mount_epoch = 0;
    std::vector<NodeId> mapped;
  };
  struct Subject {
    SourceTree& source;
    InodeTable& inodes;
    HandleTable& handles;
    std::uint32_t inode_capacity;
  };

  // Opens or makes the journal, and takes over what a killed process has left. Nothing is mounted
  // yet. Errors, one line each: EINVAL: not a journal, or another source's, which was left
  // untouched; EBUSY: another mount uses it; ENOSPC, EACCES, EIO.
  static Outcome<std::unique_ptr<ChangeJournal>> open(const Options& options,
                                                      const Subject& subject);
  // stop().
  ~ChangeJournal() override;

  [[nodiscard]] ChangeTracker& tracker() noexcept { return *tracker_; }

  // Starts the thread. `own_device`: the mount's.
  void start(std::uint64_t own_device);
  // Takes down everything, and closes the journal in order. After the last operation; the source
  // and the tables are still there.
  void stop() noexcept;

  // As UnseenWrites::may_be_mapped.
  void may_be_mapped(const InodeRef& inode) noexcept;

  // An operation has changed something that nobody was told of, which must not be.
  void untold() noexcept { untold_ = true; }

  // For `stats`: "" or why the record is not complete or not being kept.
  [[nodiscard]] std::string trouble() PFS_EXCLUDES(mutex_);
  // Whether the source is known as a whole, so that changes while nothing is mounted will be told.
  [[nodiscard]] bool knows_source() PFS_EXCLUDES(mutex_);
  [[nodiscard]] std::string file() const { return options_.file; }
  [[nodiscard]] std::uint64_t mount_epoch() const noexcept { return mount_epoch_; }

  Outcome<std::string> checkpoint() override;
  Outcome<ChangeReport> since(std::optional<std::string_view> token, bool renames) override;
  Outcome<ChangeReport> until_end(std::optional<std::string_view> token) override;
  Outcome<void> forget_before(std::string_view token) override;
  bool wait_for_change(std::string_view token,
                       std::chrono::steady_clock::time_point deadline) override;
  void interrupt() override;
  [[nodiscard]] bool is_interrupted() const override { return interrupted_; }

 private:
  ChangeJournal(Options options, const Subject& subject, std::unique_ptr<ChangeStore> store,
                std::unique_ptr<ChangeLog> log, std::unique_ptr<ChangeTracker> tracker);
  Outcome<void> take_over();
  void run() noexcept;
  void drain() PFS_REQUIRES(mutex_);
  void census_step() PFS_REQUIRES(mutex_);
  void begin_census() PFS_REQUIRES(mutex_);
  void end_census() PFS_REQUIRES(mutex_);
  void wait_until_compared() PFS_REQUIRES(mutex_);
  std::uint64_t turn(ChangeStore::EpochKind kind) PFS_REQUIRES(mutex_);
  std::uint64_t begin_epoch(ChangeStore::EpochKind kind) PFS_REQUIRES(mutex_);
  void go_on() PFS_REQUIRES(mutex_);
  bool is_changed_in(std::uint64_t epoch) PFS_REQUIRES(mutex_);
  void note_gap(std::uint64_t epoch, const std::string& reason) PFS_REQUIRES(mutex_);
  Outcome<std::uint64_t> epoch_of(std::string_view token) PFS_REQUIRES(mutex_);
  [[nodiscard]] std::string token(std::uint64_t epoch) const;
  // Where the answer to a question begins. Errors as ChangeQueries::since.
  Outcome<std::uint64_t> beginning(std::optional<std::string_view> token) PFS_REQUIRES(mutex_);
  // What has changed since that epoch's beginning; `report` has the rest.
  void compare(ChangeReport& report, std::uint64_t from, bool renames) PFS_REQUIRES(mutex_);
  template <typename T, typename Work>
  Outcome<T> answer(Work&& work) PFS_REQUIRES(mutex_);
  template <typename T, typename Work>
  Outcome<T> ask(Work&& work) PFS_EXCLUDES(mutex_);

  const Options options_;
  SourceTree& source_;

  Mutex mutex_;
  ConditionVariable changed_;
  std::unique_ptr<ChangeStore> store_;
  std::unique_ptr<ChangeLog> log_;
  std::unique_ptr<ChangeTracker> tracker_;
  Places places_ PFS_GUARDED_BY(mutex_);
  Census census_ PFS_GUARDED_BY(mutex_);
  Recorder recorder_ PFS_GUARDED_BY(mutex_);
  UnseenWrites unseen_;
  std::uint64_t checked_epoch_ PFS_GUARDED_BY(mutex_) = 0;
  std::uint64_t mount_epoch_ = 0;                      // constant once opened
  bool asked_ = false;                                 // there were tokens when it was; constant
  std::uint64_t ordinal_ PFS_GUARDED_BY(mutex_) = 0;   // records that have been let go
  std::uint64_t drained_ PFS_GUARDED_BY(mutex_) = 0;   // records brought over
  std::uint64_t answered_ PFS_GUARDED_BY(mutex_) = 0;  // drained_ at the last answer
  std::string trouble_ PFS_GUARDED_BY(mutex_);
  bool stopping_ PFS_GUARDED_BY(mutex_) = false;
  std::atomic<bool> interrupted_{false};
  std::atomic<bool> stop_{false};
  std::atomic<bool> census_runs_{false};
  std::atomic<bool> untold_{false};
  std::thread thread_;
};

}  // namespace passthroughfs
