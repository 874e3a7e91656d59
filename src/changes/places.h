// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/fd.h"
#include "changes/look.h"
#include "changes/store.h"
#include "source/source_tree.h"
#include "table/inode_table.h"

namespace passthroughfs {

// Where objects are in the source, between the journal's tables and the tree itself. Used by one
// thread at a time, with the daemon's identity. Calls may throw DatabaseError.
class Places {
 public:
  Places(ChangeStore& store, const SourceTree& source, InodeTable& inodes) noexcept
      : store_(store), source_(source), inodes_(inodes) {}

  // Puts the current name of an open (O_PATH) object into the tables, its directories' too. False:
  // it has none, or the kernel does not know it.
  bool learn(BorrowedFd fd, ObjectKey key);
  // The same, if no name of it is known yet. By number of a node that is held.
  void learn_if_needed(NodeId node, ObjectKey key);

  // A directory's path below the source as the tables know it, "" for the root. Nothing: unknown.
  std::optional<std::string> path(ObjectId directory);
  // That directory, O_PATH. Where the tables are wrong (somebody moved it behind the mount) it is
  // looked for. Invalid: it is gone, or cannot be found.
  UniqueFd open(ObjectId directory);
  // As path(), but only if the directory is still there.
  std::optional<std::string> true_path(ObjectId directory);

  // The names that an object has now, looked up in the tree. `st`: its attributes, if it has any.
  std::vector<Place> names(ObjectId object, std::optional<struct statx>& st);

  // Looks through the whole source for names of these, and puts them into the tables: for hard
  // links of which not all names are known, and for what was found by no other way.
  void search(const std::unordered_set<ObjectId>& wanted);

  // Objects that a search did not find; until a name of them is recorded there is none to search.
  void note_nowhere(ObjectId object) { nowhere_.insert(object); }
  [[nodiscard]] bool is_nowhere(ObjectId object) {
    if (!nowhere_.contains(object)) return false;
    if (!store_.has_place(object)) return true;
    nowhere_.erase(object);
    return false;
  }

  // The device of the mount itself, which is not searched where it is seen inside its own source.
  void set_own_device(std::uint64_t device) noexcept { own_device_ = device; }
  [[nodiscard]] std::uint64_t own_device() const noexcept { return own_device_; }

  // Forgets what was remembered of paths; before each use, because names change.
  void refresh() noexcept { paths_.clear(); }

 private:
  ObjectId directory_at(const std::string& path);

  ChangeStore& store_;
  const SourceTree& source_;
  InodeTable& inodes_;
  std::uint64_t own_device_ = 0;
  std::unordered_set<ObjectId> nowhere_;
  std::unordered_map<ObjectId, std::optional<std::string>> paths_;
};

}  // namespace passthroughfs
