// SPDX-License-Identifier: Apache-2.0
#include "changes/places.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "source/device_map.h"
#include "source/sys.h"

namespace passthroughfs {
namespace {

constexpr int kDeepest = 4096;  // directories above each other; more is a loop in the tables

UniqueFd open_directory(BorrowedFd at, const char* path) noexcept {
  return UniqueFd(::openat(at.get(), *path == '\0' ? "." : path,
                           O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

}  // namespace

ObjectKey key_of(const struct statx& st) noexcept {
  return {device_number(st.stx_dev_major, st.stx_dev_minor), st.stx_ino};
}

std::optional<struct statx> look_at(BorrowedFd directory, const char* name) noexcept {
  struct statx st;
  if (::statx(directory.get(), name,
              AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
              STATX_BASIC_STATS | STATX_BTIME, &st) != 0) {
    return std::nullopt;
  }
  return st;
}

// The directory at a path, with all those above it in the tables. 0: there is none.
ObjectId Places::directory_at(const std::string& path) {
  if (path.empty()) return ChangeStore::kRoot;
  const UniqueFd whole = open_directory(source_.root(), path.c_str());
  if (!whole.valid()) return 0;
  const auto st = look_at(whole.borrow(), "");
  if (!st) return 0;
  if (const ObjectId known = store_.find(key_of(*st)); known != 0 && store_.has_place(known)) {
    return known;
  }
  const std::size_t slash = path.rfind('/');
  const ObjectId parent =
      directory_at(slash == std::string::npos ? std::string() : path.substr(0, slash));
  if (parent == 0) return 0;
  const ObjectId id = store_.ensure(key_of(*st), st->stx_mode, false);
  store_.link({parent, slash == std::string::npos ? path : path.substr(slash + 1)}, id, true);
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
  const auto st = look_at(directory.borrow(), name.c_str());
  if (!st || key_of(*st) != key) return false;
  const ObjectId parent = directory_at(above);
  if (parent == 0) return false;
  store_.link({parent, name}, store_.ensure(key, st->stx_mode, false), S_ISDIR(st->stx_mode));
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
  std::vector<std::byte> buffer(64U << 10);
  while (!waiting.empty()) {
    const std::string path = std::move(waiting.back());
    waiting.pop_back();
    const UniqueFd fd(::openat(source_.root().get(), path.empty() ? "." : path.c_str(),
                               O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC));
    if (!fd.valid()) continue;
    for (;;) {
      const auto used = sys::read_directory(fd.borrow(), buffer);
      if (!used || *used == 0) break;
      for (std::size_t at = 0; at < *used;) {
        const auto* entry = reinterpret_cast<const sys::RawDirent*>(buffer.data() + at);
        at += entry->reclen;
        const std::string name = entry->name;
        if (name == "." || name == "..") continue;
        const std::string child = path.empty() ? name : path + "/" + name;
        if (entry->type == DT_DIR || entry->type == DT_UNKNOWN) {
          // This very mount may be seen inside its own source.
          const auto st = look_at(fd.borrow(), name.c_str());
          if (st && S_ISDIR(st->stx_mode) && key_of(*st).device != own_device_) {
            waiting.push_back(child);
          }
        }
        if (const auto candidates = by_number.find(entry->ino); candidates != by_number.end()) {
          const auto st = look_at(fd.borrow(), name.c_str());
          for (const ObjectId id : candidates->second) {
            if (!st || key_of(*st) != store_.key_of(id)) continue;
            if (const ObjectId directory = directory_at(path); directory != 0) {
              store_.link({directory, name}, id, S_ISDIR(st->stx_mode));
            }
          }
        }
      }
    }
  }
  refresh();
}

}  // namespace passthroughfs
