// SPDX-License-Identifier: Apache-2.0
#include "changes/places.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace passthroughfs {
namespace {

constexpr int kDeepest = 4096;  // directories above each other; more is a loop in the tables

UniqueFd open_directory(BorrowedFd at, const char* path) noexcept {
  return UniqueFd(::openat(at.get(), *path == '\0' ? "." : path,
                           O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

}  // namespace

// The directory at a path, with all those above it in the tables. 0: there is none. From the root
// down, each below the one that is open: a path that is looked up twice can lead to two places, if
// somebody renames what is above.
ObjectId Places::directory_at(const std::string& path) {
  ObjectId id = ChangeStore::kRoot;
  UniqueFd above;
  BorrowedFd at = source_.root();
  for (std::size_t begin = 0; begin < path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    UniqueFd fd = open_directory(at, name.c_str());
    const auto st = fd.valid() ? look_at(fd.borrow(), "") : std::optional<struct statx>();
    if (!st) return 0;
    const ObjectId parent = id;
    id = store_.ensure(key_of(*st), st->stx_mode, false);
    if (id != ChangeStore::kRoot && !store_.has_place(id)) store_.link({parent, name}, id, true);
    above = std::move(fd);
    at = above.borrow();
    begin = end + 1;
  }
  return id;
}

bool Places::learn(BorrowedFd fd, ObjectKey key) {
  bool deleted = false;
  const std::string path = source_.path_of(fd, deleted);
  if (deleted || path.empty() || path.front() == '/') return path.empty();
  const std::size_t slash = path.rfind('/');
  const std::string above = slash == std::string::npos ? std::string() : path.substr(0, slash);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  // Somebody may have renamed it, or what is above it, since the kernel said so.
  const UniqueFd directory = open_directory(source_.root(), above.c_str());
  if (!directory.valid()) return false;
  const auto parent = look_at(directory.borrow(), "");
  const auto st = look_at(directory.borrow(), name.c_str());
  if (!parent || !st || key_of(*st) != key) return false;
  ObjectId id = store_.find(key_of(*parent));
  if (id == 0 || (id != ChangeStore::kRoot && !store_.has_place(id))) {
    id = directory_at(above);
    if (id == 0 || store_.key_of(id) != key_of(*parent)) return false;
  }
  store_.link({id, name}, store_.ensure(key, st->stx_mode, false), S_ISDIR(st->stx_mode));
  return true;
}

void Places::learn_if_needed(NodeId node, ObjectKey key) {
  if (const ObjectId known = store_.find(key);
      known == ChangeStore::kRoot || (known != 0 && store_.has_place(known))) {
    return;
  }
  if (auto inode = inodes_.get(node)) (void)learn(inode->fd(), key);
}

std::optional<std::string> Places::path(ObjectId directory) {
  if (directory == ChangeStore::kRoot) return std::string();
  if (const auto known = paths_.find(directory); known != paths_.end()) return known->second;
  std::string path;
  ObjectId at = directory;
  for (int depth = 0; at != ChangeStore::kRoot; ++depth) {
    const auto places = store_.places(at);
    if (places.empty() || depth == kDeepest) return paths_[directory] = std::nullopt;
    path.insert(0, path.empty() ? places.front().name : places.front().name + "/");
    at = places.front().directory;
  }
  return paths_[directory] = path;
}

UniqueFd Places::open(ObjectId directory) {
  const ObjectKey key = store_.key_of(directory);
  for (int tries = 0; tries < 2; ++tries) {
    if (const auto known = path(directory)) {
      UniqueFd fd = open_directory(source_.root(), known->c_str());
      if (fd.valid()) {
        const auto st = look_at(fd.borrow(), "");
        if (st && key_of(*st) == key) return fd;
      }
    }
    // Unknown, or not there any more.
    if (!key.exists() || tries != 0) break;
    auto inode = inodes_.find({key.device, key.ino});
    if (!inode || !learn(inode->fd(), key)) break;
    refresh();
  }
  return {};
}

std::optional<std::string> Places::true_path(ObjectId directory) {
  if (directory == ChangeStore::kRoot) return std::string();
  if (!open(directory).valid()) return std::nullopt;
  return path(directory);
}

std::vector<Place> Places::names(ObjectId object, std::optional<struct statx>& st) {
  const ObjectKey key = store_.key_of(object);
  std::vector<Place> found;
  const auto collect = [&] {
    found.clear();
    for (Place& place : store_.places(object)) {
      const UniqueFd directory = open(place.directory);
      if (!directory.valid()) continue;
      const auto seen = look_at(directory.borrow(), place.name.c_str());
      if (!seen || key_of(*seen) != key) continue;
      st = seen;
      found.push_back(std::move(place));
    }
  };
  if (object == ChangeStore::kRoot) {
    st = look_at(source_.root(), "");
    return {Place{}};
  }
  collect();
  if (found.empty() && key.exists()) {
    auto inode = inodes_.find({key.device, key.ino});
    if (inode && learn(inode->fd(), key)) {
      collect();
    } else if (inode && !st) {
      st = look_at(inode->fd(), "");
    }
  }
  return found;
}

void Places::search(const std::unordered_set<ObjectId>& wanted) {
  if (wanted.empty()) return;
  std::unordered_map<std::uint64_t, std::vector<ObjectId>> by_number;
  for (const ObjectId id : wanted) by_number[store_.key_of(id).ino].push_back(id);
  std::vector<std::string> waiting{std::string()};
  while (!waiting.empty()) {
    const std::string path = std::move(waiting.back());
    waiting.pop_back();
    const UniqueFd directory = open_directory(source_.root(), path.c_str());
    if (!directory.valid()) continue;
    const auto listing = open_quietly(source_, directory.borrow(), O_DIRECTORY);
    if (!listing) continue;
    // What is listed up to an error has been looked at.
    (void)for_each_name(listing->borrow(), [&](const sys::RawDirent& entry) {
      const auto candidates = by_number.find(entry.ino);
      const bool may_be_directory = entry.type == DT_DIR || entry.type == DT_UNKNOWN;
      if (candidates == by_number.end() && !may_be_directory) return;
      const auto st = look_at(directory.borrow(), entry.name);
      if (!st) return;
      // This very mount may be seen inside its own source.
      if (S_ISDIR(st->stx_mode) && key_of(*st).device != own_device_) {
        waiting.push_back(path.empty() ? entry.name : path + "/" + entry.name);
      }
      if (candidates == by_number.end()) return;
      for (const ObjectId id : candidates->second) {
        if (key_of(*st) != store_.key_of(id)) continue;
        const auto parent = look_at(directory.borrow(), "");
        if (const ObjectId known = directory_at(path);
            parent && known != 0 && store_.key_of(known) == key_of(*parent)) {
          store_.link({known, entry.name}, id, S_ISDIR(st->stx_mode));
        }
      }
    });
  }
  refresh();
}

}  // namespace passthroughfs
