// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "changes/places.h"
#include "changes/store.h"
#include "changes/tracker.h"

namespace passthroughfs {

// What the journal knows of the whole source, so that it can tell what was changed while nothing
// was mounted: every name, and each inode's attributes. A walk of the source brings the tables up
// to date, in steps, while the mount serves; where the source is not as it was known, that is told
// as a change in an epoch that had ended by then. Used by one thread at a time, inside
// a transaction. May throw DatabaseError.
class Census {
 public:
  Census(ChangeStore& store, Places& places, const SourceTree& source,
         const ChangeTracker& tracker) noexcept
      : store_(store), places_(places), source_(source), tracker_(tracker) {}

  // Begins a walk that only takes down what there is.
  void begin_counting();
  // Begins a walk that compares with what was known, and tells differences as changes in `epoch`.
  void begin_comparing(std::uint64_t epoch);
  // Begins a walk that takes down what there is, and looks whether anything was changed after
  // `last_word` (nanoseconds of CLOCK_REALTIME), when all changes had been recorded. Inodes that
  // were are told as changed in `epoch`; of a directory where names were nobody knows which ones.
  void begin_checking(std::uint64_t epoch, std::int64_t last_word);
  // A directory of which checking found that; empty: none so far.
  [[nodiscard]] const std::string& unknown_changes() const noexcept { return unknown_; }
  [[nodiscard]] bool is_walking() const noexcept { return walking_; }
  // Whether it finds changes that a question has to wait for.
  [[nodiscard]] bool is_finding() const noexcept {
    return walking_ && (epoch_ != 0 || check_ != 0);
  }
  [[nodiscard]] bool is_comparing() const noexcept { return walking_ && epoch_ != 0; }
  // Some directories more. False: the walk is done.
  bool step();

  // While it finds changes: a name or an inode is about to be recorded as changed now, or names
  // below a directory are. What was known of it counts before that is overwritten.
  void before_name(const Place& place, ObjectId before, const Stamp& stamp);
  void before_inode(ObjectId object, const Stamp& stamp);
  void before_end(ObjectKey key);

  // Looks again at what has been recorded as changed since it was last looked at. `epoch`: the one
  // that goes on, whose operations say once only what they change and may not have done it yet:
  // what they speak of is looked at the next time, too. 0: nobody changes anything any more.
  void refresh(std::uint64_t epoch);

 private:
  struct Entry {
    std::string name;
    struct statx st;
  };
  void begin(std::uint64_t epoch);
  bool visit(ObjectId directory);
  void take_down(ObjectId directory, BorrowedFd fd, const Entry& entry, ObjectId known);
  void gone(const Place& place, ObjectId object);
  void check(ObjectId object, const Stamp& now);
  void settle_missing();
  void altered(ObjectId object, const Stamp& now);
  void set_known(ObjectId object, const struct statx& st, BorrowedFd directory, const char* name);
  bool is_another(ObjectId object, const struct statx& st);

  ChangeStore& store_;
  Places& places_;
  const SourceTree& source_;
  const ChangeTracker& tracker_;
  bool walking_ = false;
  std::uint64_t epoch_ = 0;  // 0: nothing is compared
  // While checking: the epoch and the time, directories that have been looked at or were touched
  // in time, and what was found.
  std::uint64_t check_ = 0;
  std::int64_t last_word_ = 0;
  std::unordered_set<ObjectId> checked_, touched_;
  std::string unknown_;
  std::vector<ObjectId> waiting_;
  std::vector<ObjectId> moving_;  // were not found
  int tries_ = 0;
  std::unordered_set<ObjectId> seen_;
  std::vector<std::pair<Place, ObjectId>> missing_;
};

}  // namespace passthroughfs
