// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>

#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "changes/places.h"
#include "changes/store.h"

namespace passthroughfs {

// What a name stands for at one of the two moments.
struct Bound {
  ObjectId object = 0;  // 0: nothing
  Stamp stamp;
  Digest xattrs = 0;  // 0: not known
};

// A name that was touched since an epoch began: what it stood for then, and now.
struct TouchedName {
  ObjectId directory = 0;
  std::string name;
  Bound then;
  Bound now;

  [[nodiscard]] bool is_same() const noexcept { return then.object == now.object; }
};

// The names that were touched since an epoch began, and how paths were then. Used by one thread,
// for one question. May throw DatabaseError.
class TouchedNames {
 public:
  TouchedNames(ChangeStore& store, Places& places, std::uint64_t since);

  [[nodiscard]] const std::vector<TouchedName>& all() const noexcept { return all_; }
  [[nodiscard]] const TouchedName* find(ObjectId directory, const std::string& name) const;

  // Puts the attributes that the object had then in the place of later ones, where they are known.
  void as_it_was(Bound& bound) const;
  // Whether the object was there when the epoch began.
  [[nodiscard]] bool existed(ObjectId object);
  // A directory's path then; nothing if it did not exist or was not known.
  std::optional<std::string> old_path(ObjectId directory);
  // A directory's path now; nothing if it is gone.
  std::optional<std::string> new_path(ObjectId directory);

 private:
  void look_at_then();
  void find_directories();
  void look_at_now();

  ChangeStore& store_;
  Places& places_;
  const std::uint64_t since_;
  struct Said {
    Stamp stamp;
    Digest xattrs = 0;
  };

  std::vector<TouchedName> all_;
  std::unordered_map<ObjectId, Said> said_;  // of inodes that were touched themselves
  std::unordered_map<ObjectId, std::unordered_map<std::string, std::size_t>> index_;
  std::unordered_map<ObjectId, std::size_t> old_names_;  // of directories: where they were
  std::unordered_map<ObjectId, std::optional<std::string>> old_paths_, new_paths_;
};

[[nodiscard]] std::string join(const std::string& directory, const std::string& name);

}  // namespace passthroughfs
