// SPDX-License-Identifier: Apache-2.0
#include "changes/altered.h"

#include <fcntl.h>

#include <unordered_map>
#include <unordered_set>

#include "changes/digest.h"

namespace passthroughfs {
namespace {

UniqueFd open_object(const SourceTree& source, Places& places, const Place& place) {
  if (place.name.empty()) {
    return UniqueFd(::openat(source.root().get(), ".", O_PATH | O_CLOEXEC));
  }
  const UniqueFd directory = places.open(place.directory);
  if (!directory.valid()) return {};
  return UniqueFd(::openat(directory.get(), place.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

bool content_differs(const SourceTree& source, BorrowedFd fd, Digest then) {
  if (then == 0) return true;
  const auto file = open_quietly(source, fd);
  return !file || digest_content(file->borrow(), kMostComparedBytes) != then;
}

struct Doubt {
  InodeRow row;
  std::vector<Place> names;
  struct statx st {};
};

AlteredObject judge(Places& places, const SourceTree& source, Doubt& doubt) {
  const InodeRow& row = doubt.row;
  const Stamp& then = row.stamp;
  const Stamp now = Stamp::of(doubt.st);
  const bool certain = (row.marks & mark::kCertain) != 0 || !then.known();
  const auto said = [&](std::uint8_t bits) { return (row.marks & bits) != 0; };
  const bool moved = now.ctime != then.ctime || then.racy != 0;  // the times may have

  AlteredObject out;
  out.mode = now.mode;
  UniqueFd fd;
  const auto object = [&] {
    if (!fd.valid()) fd = open_object(source, places, doubt.names.front());
    return fd.borrow();
  };
  if (S_ISREG(now.mode) && said(mark::kData | mark::kQuestion)) {
    if (certain || now.size != then.size || now.mtime != then.mtime) {
      out.data = true;
    } else if (said(mark::kData) || said(mark::kTimes)) {
      out.data = moved;
    } else {
      out.data = then.racy != 0;
    }
    if (!out.data && said(mark::kMapped)) {
      out.data = content_differs(source, object(), row.content);
    }
  }
  out.attributes = now.mode != then.mode || now.uid != then.uid || now.gid != then.gid ||
                   (said(mark::kTimes) && now.mtime != then.mtime) || said(mark::kFlags);
  if (!then.known()) out.attributes = said(mark::kAttributes | mark::kTimes | mark::kFlags);
  if (said(mark::kXattr)) {
    out.xattr = certain || row.xattrs == 0 || digest_xattrs(object()) != row.xattrs;
  }
  out.names = std::move(doubt.names);
  return out;
}

}  // namespace

Digest xattrs_of(Places& places, const SourceTree& source, ObjectId object) {
  std::optional<struct statx> st;
  const auto names = places.names(object, st);
  if (names.empty()) return 0;
  const UniqueFd fd = open_object(source, places, names.front());
  return fd.valid() ? digest_xattrs(fd.borrow()) : 0;
}

Digest xattrs_at(const SourceTree& source, const std::string& path) {
  const UniqueFd fd(::openat(source.root().get(), path.empty() ? "." : path.c_str(),
                             O_PATH | O_NOFOLLOW | O_CLOEXEC));
  return fd.valid() ? digest_xattrs(fd.borrow()) : 0;
}

std::vector<AlteredObject> altered_since(ChangeStore& store, Places& places,
                                         const SourceTree& source, std::uint64_t since) {
  // By epoch: the first stamp of an object is how it was when the first of these began.
  std::unordered_map<ObjectId, Doubt> doubts;
  store.inodes_since(since, [&](const InodeRow& row) {
    const auto [found, is_first] = doubts.try_emplace(row.object, Doubt{row, {}, {}});
    if (is_first) return;
    InodeRow& known = found->second.row;
    known.marks |= row.marks;
    if (known.xattrs == 0) known.xattrs = row.xattrs;
    if (known.content == 0) known.content = row.content;
  });
  std::unordered_set<ObjectId> lost;
  for (auto doubt = doubts.begin(); doubt != doubts.end();) {
    const ObjectId object = doubt->first;
    if (store.birth(object) >= since && object != ChangeStore::kRoot) {
      doubt = doubts.erase(doubt);
      continue;
    }
    if (!store.is_current(object) || places.is_nowhere(object)) {
      doubt = doubts.erase(doubt);
      continue;
    }
    std::optional<struct statx> st;
    doubt->second.names = places.names(object, st);
    if (st) doubt->second.st = *st;
    const std::size_t wanted = !st ? 1 : S_ISDIR(st->stx_mode) ? 1 : st->stx_nlink;
    if (doubt->second.names.size() < wanted) lost.insert(object);
    ++doubt;
  }
  if (!lost.empty()) {
    places.search(lost);
    for (const ObjectId object : lost) {
      Doubt& doubt = doubts[object];
      std::optional<struct statx> st;
      doubt.names = places.names(object, st);
      if (st) doubt.st = *st;
      // Not ended: the record of its end may still be in the log. But not looked for again.
      if (doubt.names.empty()) places.note_nowhere(object);
    }
  }
  std::vector<AlteredObject> out;
  for (auto& [object, doubt] : doubts) {
    if (doubt.names.empty()) continue;  // it has no name any more
    AlteredObject one = judge(places, source, doubt);
    if (one.data || one.attributes || one.xattr) out.push_back(std::move(one));
  }
  return out;
}

}  // namespace passthroughfs
