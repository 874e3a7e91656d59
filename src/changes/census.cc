// SPDX-License-Identifier: Apache-2.0
#include "changes/census.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <thread>

#include "changes/altered.h"
#include "changes/digest.h"

namespace passthroughfs {
namespace {

constexpr int kDirectoriesPerStep = 64;
// How often directories are looked for that were not where the tables say.
constexpr int kMostTries = 16;

std::int64_t birth_time(const struct statx& st) noexcept {
  if ((st.stx_mask & STATX_BTIME) == 0) return 0;
  return st.stx_btime.tv_sec * 1'000'000'000 + static_cast<std::int64_t>(st.stx_btime.tv_nsec);
}

}  // namespace

void Census::begin(std::uint64_t epoch) {
  walking_ = true;
  check_ = 0;
  unknown_.clear();
  epoch_ = epoch;
  waiting_ = {ChangeStore::kRoot};
  seen_ = {ChangeStore::kRoot};
  missing_.clear();
  moving_.clear();
  tries_ = 0;
}

void Census::begin_counting() { begin(0); }

void Census::begin_comparing(std::uint64_t epoch) {
  begin(epoch);
  if (const auto st = look_at(source_.root(), "")) {
    altered(ChangeStore::kRoot, tracker_.stamp(*st));
  }
}

void Census::begin_checking(std::uint64_t epoch, std::int64_t last_word) {
  begin(0);
  check_ = epoch;
  last_word_ = last_word;
  checked_.clear();
  // What was recorded last explains a directory's time.
  touched_.clear();
  store_.names_since(epoch, [this](const NameRow& row) { touched_.insert(row.directory); });
  store_.inodes_since(epoch, [this](const InodeRow& row) { touched_.insert(row.object); });
  if (const auto st = look_at(source_.root(), "")) {
    check(ChangeStore::kRoot, tracker_.stamp(*st));
  }
}

// Whether an inode was changed when nobody recorded it.
void Census::check(ObjectId object, const Stamp& now) {
  // Clocks of file systems stand still for a tick.
  constexpr std::int64_t kTick = 20'000'000;
  const bool directory = S_ISDIR(now.mode);
  if (directory && !checked_.insert(object).second) return;
  if (now.ctime < last_word_ - kTick) return;
  if (!directory && touched_.count(object) != 0 && now.ctime <= last_word_ + kTick) return;
  const bool names = directory && now.mtime >= last_word_ - kTick;
  if (names && (now.mtime > last_word_ + kTick || touched_.count(object) == 0)) {
    if (unknown_.empty()) unknown_ = places_.path(object).value_or("a directory");
    if (unknown_.empty()) unknown_ = ".";
  }
  if (directory && names) return;
  InodeRow row;
  row.epoch = check_;
  row.object = object;
  row.marks = mark::kCertain | mark::kXattr | mark::kAttributes;
  if (!directory) row.marks |= mark::kData;
  store_.add(row);
}

bool Census::step() {
  places_.refresh();
  for (int i = 0; i < kDirectoriesPerStep && !waiting_.empty(); ++i) {
    const ObjectId directory = waiting_.back();
    waiting_.pop_back();
    // Somebody is moving it or what is above it, which the log will say soon.
    if (!visit(directory) && store_.is_current(directory)) moving_.push_back(directory);
  }
  if (!waiting_.empty()) return true;
  if (!moving_.empty() && ++tries_ < kMostTries) {
    waiting_.swap(moving_);
    return true;
  }
  settle_missing();
  if (const auto st = look_at(source_.root(), "")) {
    set_known(ChangeStore::kRoot, *st, source_.root(), "");
  }
  walking_ = false;
  check_ = 0;
  seen_.clear();
  checked_.clear();
  touched_.clear();
  return false;
}

// False: the directory was not found.
bool Census::visit(ObjectId directory) {
  const UniqueFd path = places_.open(directory);
  if (!path.valid()) return false;
  const auto listing = open_quietly(source_, path.borrow(), O_DIRECTORY);
  if (!listing) return true;
  std::vector<Entry> entries;
  const auto listed = for_each_name(listing->borrow(), [&](const sys::RawDirent& entry) {
    if (const auto st = look_at(path.borrow(), entry.name)) entries.push_back({entry.name, *st});
  });
  if (!listed) return true;
  std::map<std::string, ObjectId> known;
  store_.children(directory,
                  [&](std::string_view name, ObjectId object) { known.emplace(name, object); });
  for (const Entry& entry : entries) {
    const auto before = known.find(entry.name);
    take_down(directory, path.borrow(), entry, before == known.end() ? 0 : before->second);
    if (before != known.end()) known.erase(before);
  }
  for (auto& [name, object] : known) missing_.emplace_back(Place{directory, name}, object);
  return true;
}

// What was looked at before and has not changed since has the attributes that it had.
void Census::set_known(ObjectId object, const struct statx& st, BorrowedFd directory,
                       const char* name) {
  const Stamp now = tracker_.stamp(st);
  const ChangeStore::Known known = store_.known(object);
  const bool same = known.stamp.known() && known.stamp.ctime == now.ctime && now.racy == 0 &&
                    known.stamp.racy == 0;
  if (same) return;
  store_.set_known(object, {now, digest_xattrs(directory, name), birth_time(st)});
}

// Whether an inode has only the number of one that was known and is gone.
bool Census::is_another(ObjectId object, const struct statx& st) {
  const ChangeStore::Known known = store_.known(object);
  if (!known.stamp.known()) return false;
  const std::int64_t birth = birth_time(st);
  return (known.stamp.mode & S_IFMT) != (st.stx_mode & S_IFMT) ||
         (known.birth != 0 && birth != 0 && known.birth != birth);
}

void Census::take_down(ObjectId directory, BorrowedFd fd, const Entry& entry, ObjectId known) {
  const ObjectKey key = key_of(entry.st);
  const Stamp now = tracker_.stamp(entry.st);
  const bool is_directory = S_ISDIR(entry.st.stx_mode);
  ObjectId object = store_.find(key);
  const Place place{directory, entry.name};
  if (object != 0 && object != ChangeStore::kRoot && seen_.count(object) == 0 &&
      is_another(object, entry.st)) {
    if (epoch_ != 0) {
      for (const Place& was : store_.places(object)) gone(was, object);
    } else {
      store_.end(object);
    }
    object = 0;
    known = store_.at(place);
  }
  if (epoch_ != 0) {
    const bool unknown = object == 0;
    if (unknown) object = store_.born(key, entry.st.stx_mode, epoch_);
    if (known != object) {
      store_.add(NameRow{epoch_, directory, entry.name, known, store_.known(known).stamp,
                         store_.known(known).xattrs});
      // A directory has one place: where it was known to be it is no more.
      if (is_directory) {
        for (const Place& other : store_.places(object)) {
          store_.add(NameRow{epoch_, other.directory, other.name, object,
                             store_.known(object).stamp, store_.known(object).xattrs});
        }
      }
      if (known != 0) missing_.emplace_back(Place{}, known);
    }
    if (!unknown) altered(object, now);
  } else if (object == 0) {
    object = store_.ensure(key, entry.st.stx_mode, true);
  }
  if (known != object) store_.link(place, object, is_directory);
  if (check_ != 0) check(object, now);
  set_known(object, entry.st, fd, entry.name.c_str());
  const bool is_first = seen_.insert(object).second;
  if (is_directory && is_first && key.device != places_.own_device()) waiting_.push_back(object);
}

void Census::altered(ObjectId object, const Stamp& now) {
  const auto [then, xattrs, birth] = store_.known(object);
  if (!then.known() && store_.birth(object) >= epoch_) return;
  if (then.known() && then.ctime == now.ctime && then.racy == 0) return;
  InodeRow row;
  row.epoch = epoch_;
  row.object = object;
  row.stamp = then;
  row.xattrs = xattrs;
  row.marks = mark::kXattr;
  if (!then.known()) row.marks |= mark::kAttributes;
  // Times may have been set back after a change of the content, so that they prove nothing.
  if (!S_ISDIR(now.mode)) row.marks |= mark::kData;
  store_.add(row);
}

// A name that was known is not there any more.
void Census::gone(const Place& place, ObjectId object) {
  if (place.directory != 0) {
    const auto [then, xattrs, birth] = store_.known(object);
    store_.add(NameRow{epoch_, place.directory, place.name, object, then, xattrs});
    store_.unlink(place);
  }
  if (seen_.count(object) != 0 || store_.has_place(object)) return;
  std::vector<std::pair<Place, ObjectId>> below;
  store_.children(object, [&](std::string_view name, ObjectId child) {
    below.emplace_back(Place{object, std::string(name)}, child);
  });
  store_.end(object);
  for (const auto& [child_place, child] : below) gone(child_place, child);
}

void Census::settle_missing() {
  if (epoch_ == 0) {
    // Removed while the walk went on; the log says so.
    missing_.clear();
    return;
  }
  for (const auto& [place, object] : missing_) {
    // Somebody may have made it anew meanwhile, which the log says.
    if (place.directory != 0 && store_.at(place) != object) continue;
    gone(place, object);
  }
  missing_.clear();
}

void Census::before_name(const Place& place, ObjectId before, const Stamp& stamp) {
  if (!is_comparing()) return;
  const ObjectId known = store_.at(place);
  if (known != before) {
    store_.add(NameRow{epoch_, place.directory, place.name, known, store_.known(known).stamp,
                       store_.known(known).xattrs});
  }
  if (before != 0 && stamp.known() && store_.birth(before) < epoch_) {
    altered(before, stamp);
  }
}

void Census::before_inode(ObjectId object, const Stamp& stamp) {
  if (!is_finding() || !stamp.known()) return;
  if (check_ != 0) {
    check(object, stamp);
  } else {
    altered(object, stamp);
  }
}

void Census::before_end(ObjectKey key) {
  if (!is_comparing()) return;
  const ObjectId object = store_.find(key);
  if (object == 0 || seen_.count(object) != 0) return;
  for (const Place& place : store_.places(object)) gone(place, object);
}

void Census::refresh(std::uint64_t epoch) {
  places_.refresh();
  const auto look_again = [this](const std::vector<ObjectId>& objects,
                                 const std::vector<Place>& changed) {
    std::pair<std::vector<ObjectId>, std::vector<Place>> racy;
    for (const ObjectId object : objects) {
      std::optional<struct statx> st;
      const auto names = places_.names(object, st);
      if (names.empty() || !st) {
        // Somebody is moving it, which the log will say soon. Until it is looked at again its old
        // state must not pass for the one of now.
        if (store_.is_current(object)) {
          store_.set_known(object, {});
          store_.add_stale(object);
        }
        continue;
      }
      const Stamp now = tracker_.stamp(*st);
      store_.set_known(object, {now, xattrs_of(places_, source_, object), birth_time(*st)});
      if (now.racy != 0) racy.first.push_back(object);
    }
    for (const Place& place : changed) {
      const UniqueFd directory = places_.open(place.directory);
      if (!directory.valid()) {
        // As above: that it was not found says nothing of what is in it.
        if (store_.is_current(place.directory)) store_.add_stale(place);
        continue;
      }
      const auto st = look_at(directory.borrow(), place.name.c_str());
      if (!st) {
        store_.unlink(place);
        continue;
      }
      const ObjectId object = store_.ensure(key_of(*st), st->stx_mode, false);
      if (store_.at(place) != object) store_.link(place, object, S_ISDIR(st->stx_mode));
      const Stamp now = tracker_.stamp(*st);
      set_known(object, *st, directory.borrow(), place.name.c_str());
      if (now.racy != 0) racy.second.push_back(place);
    }
    return racy;
  };
  const auto racy = look_again(store_.take_stale_objects(), store_.take_stale_places());
  if (!racy.first.empty() || !racy.second.empty()) {
    // Times of this moment prove nothing later; a little older ones do.
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
    (void)look_again(racy.first, racy.second);
  }
  if (epoch != 0) store_.add_stale_in(epoch);
}

}  // namespace passthroughfs
