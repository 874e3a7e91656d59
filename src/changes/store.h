// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "changes/database.h"
#include "changes/record.h"
#include "passthroughfs/result.h"

namespace passthroughfs {

// An inode of the source over its whole life, which its key is not: numbers are used again.
using ObjectId = std::int64_t;

// A name: which directory's, and what it is called there.
struct Place {
  ObjectId directory = 0;
  std::string name;
};

// What a name stood for when an epoch began, for a name that was touched in that epoch.
struct NameRow {
  std::uint64_t epoch = 0;
  ObjectId directory = 0;
  std::string name;
  ObjectId before = 0;  // 0: nothing
  Stamp stamp;
  Digest xattrs = 0;
};

// What was said of an inode in an epoch, and how it was before.
struct InodeRow {
  std::uint64_t epoch = 0;
  ObjectId object = 0;
  std::uint8_t marks = 0;
  Stamp stamp;
  Digest xattrs = 0;
  Digest content = 0;
};

// The journal's tables (docs/journal-format.md). One row per changed name or inode and epoch, never
// per operation. Used by one thread at a time; every call may throw DatabaseError.
class ChangeStore {
 public:
  static constexpr ObjectId kRoot = 1;

  // Opens or makes the database; "" is one in memory. Errors, one line each: EINVAL: the file is
  // not a journal, or another version's; it was left untouched. EBUSY, EIO, ENOSPC, EACCES.
  static Outcome<std::unique_ptr<ChangeStore>> open(const std::string& path);
  ~ChangeStore();
  ChangeStore(const ChangeStore&) = delete;
  ChangeStore& operator=(const ChangeStore&) = delete;

  // This journal's identity, in each of its tokens.
  [[nodiscard]] std::uint64_t identity() const noexcept { return identity_; }

  [[nodiscard]] std::string meta(const char* key);  // "": not set
  void set_meta(const char* key, const std::string& value);

  // `durable`: once committed it outlives a power loss.
  void begin(bool durable = false);
  void commit();
  void abandon() noexcept;

  // ---- epochs ----------------------------------------------------------------------------------

  enum class EpochKind : std::uint8_t { mount = 0, checkpoint = 1, report = 2 };
  void add_epoch(std::uint64_t epoch, EpochKind kind);
  // The last boundary that is not after `epoch`: rows since then include those since `epoch`. 0:
  // there is none any more.
  [[nodiscard]] std::uint64_t boundary(std::uint64_t epoch);
  [[nodiscard]] std::uint64_t newest_epoch();  // 0: none
  [[nodiscard]] bool has_epoch_of(EpochKind kind);
  void forget_before(std::uint64_t epoch);
  // Merges the oldest boundaries that reports have made, if there are more than `most`.
  void thin_out(std::size_t most);

  // ---- objects and their names -----------------------------------------------------------------

  // The source's root directory has this key. Its device may have another number than last time.
  void set_root(ObjectKey key);
  // 0: unknown.
  [[nodiscard]] ObjectId find(ObjectKey key);
  // Found or added. `sure`: it was there before what is being recorded; else it was only seen, and
  // a record of its birth may still come.
  ObjectId ensure(ObjectKey key, std::uint32_t mode, bool sure);
  // A new object: an older one with this key has ended.
  ObjectId born(ObjectKey key, std::uint32_t mode, std::uint64_t epoch);
  [[nodiscard]] std::uint64_t birth(ObjectId object);  // the epoch; 0: before all epochs
  [[nodiscard]] ObjectKey key_of(ObjectId object);
  // It has lost a name; drops it if it has none left and nothing refers to it.
  void nameless(ObjectId object, std::uint64_t epoch);
  // It is no more: whatever has its key from now on is another.
  void end(ObjectId object);
  [[nodiscard]] bool is_current(ObjectId object);

  void link(const Place& place, ObjectId object, bool is_directory);
  void unlink(const Place& place);
  [[nodiscard]] ObjectId at(const Place& place);  // 0: unknown
  [[nodiscard]] std::vector<Place> places(ObjectId object);
  [[nodiscard]] bool has_place(ObjectId object);
  void children(ObjectId directory, const std::function<void(std::string_view, ObjectId)>& visit);

  // ---- what is known of objects, for the comparison after a time without the mount --------------

  struct Known {
    Stamp stamp;  // not known(): never looked at
    Digest xattrs = 0;
    std::int64_t birth = 0;  // of the inode, nanoseconds; 0: its file system does not say
  };
  void set_known(ObjectId object, const Known& known);
  [[nodiscard]] Known known(ObjectId object);
  // Objects whose known state is older than what has been recorded of them.
  void add_stale(ObjectId object);
  void add_stale(const Place& place);
  // All that rows of this epoch speak of.
  void add_stale_in(std::uint64_t epoch);
  [[nodiscard]] std::vector<ObjectId> take_stale_objects();
  [[nodiscard]] std::vector<Place> take_stale_places();

  // ---- rows ------------------------------------------------------------------------------------

  // The first word about a name or an inode in an epoch stands; marks are gathered.
  void add(const NameRow& row);
  void add(const InodeRow& row);
  // In this epoch the name had nothing before: if it has nothing now, there is nothing to tell.
  void drop_if_transient(std::uint64_t epoch, const Place& place);
  void names_since(std::uint64_t epoch, const std::function<void(const NameRow&)>& visit);
  void inodes_since(std::uint64_t epoch, const std::function<void(const InodeRow&)>& visit);
  [[nodiscard]] bool has_names(std::uint64_t epoch);
  [[nodiscard]] bool has_inodes(std::uint64_t epoch);

 private:
  struct Statements;
  struct KeyHash {
    std::size_t operator()(const ObjectKey& key) const noexcept {
      return static_cast<std::size_t>((key.ino * 0x9e3779b97f4a7c15ULL) ^ key.device);
    }
  };

  struct Found {
    ObjectId id = 0;
    bool sure = false;
  };

  explicit ChangeStore(const std::string& path);

  Found look_up(ObjectKey key);

  Database database_;
  std::unique_ptr<Statements> sql_;
  std::uint64_t identity_ = 0;
  bool durable_ = false;
  std::unordered_map<ObjectKey, Found, KeyHash> ids_;  // a cache, of those that are current
};

}  // namespace passthroughfs
