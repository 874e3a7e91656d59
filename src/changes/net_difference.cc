// SPDX-License-Identifier: Apache-2.0
#include "changes/net_difference.h"

#include <fcntl.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "changes/altered.h"
#include "changes/digest.h"
#include "changes/touched.h"

namespace passthroughfs {
namespace {

const char* type_name(std::uint32_t mode) noexcept {
  switch (mode & S_IFMT) {
    case S_IFDIR: return "directory";
    case S_IFLNK: return "symlink";
    case S_IFIFO: return "fifo";
    case S_IFSOCK: return "socket";
    case S_IFBLK: return "block";
    case S_IFCHR: return "character";
    default: return "file";
  }
}

[[nodiscard]] bool says_something(const Change& change) noexcept {
  return change.created || change.deleted || change.data || change.attributes || change.xattr ||
         change.renamed;
}

// The report while it is being made: one entry per path.
class Report {
 public:
  Report(const SourceTree& source, Places& places) : source_(source), places_(places) {}

  Change& entry(const std::string& path, std::uint32_t mode) {
    Change& change = changes_[path];
    if (change.path.empty()) change.path = path.empty() ? "." : path;
    change.type = type_name(mode);
    return change;
  }
  [[nodiscard]] const Change* find(const std::string& path) const {
    const auto found = changes_.find(path);
    return found == changes_.end() ? nullptr : &found->second;
  }

  void renamed(const std::string& from, const std::string& to, std::uint32_t mode) {
    Change& change = entry(to, mode);
    change.renamed = true;
    change.from = from;
    moved_.insert(from);
    moved_.insert(to);
  }
  // After renamed().
  void created(const std::string& path, const Bound& now) {
    made_[path] = now;
    entry(path, now.stamp.mode).created = true;
  }
  void deleted(const std::string& path, const Bound& then) {
    // One took the place of another; unless this path and that one are the same by chance, because
    // what is above them was moved.
    if (const auto made = made_.find(path); made != made_.end() && !is_below_moved(path)) {
      const Bound now = made->second;
      made_.erase(made);
      changes_.erase(path);
      replaced(path, then, now);
      return;
    }
    // Something was moved to where it was.
    if (const auto found = changes_.find(path);
        found != changes_.end() && found->second.renamed && !is_below_moved(path)) {
      return;
    }
    // What is there now has the say about the type.
    if (const auto found = changes_.find(path); found != changes_.end()) {
      found->second.deleted = true;
    } else {
      entry(path, then.stamp.mode).deleted = true;
    }
  }
  // One object took the place of another.
  void replaced(const std::string& path, const Bound& then, const Bound& now) {
    const bool same_type = (then.stamp.mode & S_IFMT) == (now.stamp.mode & S_IFMT);
    const bool directories = same_type && S_ISDIR(now.stamp.mode);
    Change& change = entry(path, now.stamp.mode);
    replaced_.insert(path);
    change.data = change.data || !directories;
    change.attributes = change.attributes || then.stamp.mode != now.stamp.mode ||
                        then.stamp.uid != now.stamp.uid || then.stamp.gid != now.stamp.gid;
    // What only moved has them still. Those of what was removed nobody has looked at: then any of
    // the new one count.
    Digest before = then.xattrs;
    if (before == 0) before = xattrs_of(places_, source_, then.object);
    if (before == 0) before = kNoXattrs;
    change.xattr = change.xattr || xattrs_at(source_, path) != before;
    if (!says_something(change)) changes_.erase(path);
  }
  [[nodiscard]] bool is_new(const std::string& path) const {
    return made_.count(path) != 0 || replaced_.count(path) != 0;
  }

  std::vector<Change> take() {
    std::vector<Change> out;
    out.reserve(changes_.size());
    for (auto& [path, change] : changes_) {
      if (says_something(change)) out.push_back(std::move(change));
    }
    // The root is called ".", and some names come before that.
    std::sort(out.begin(), out.end(),
              [](const Change& a, const Change& b) { return a.path < b.path; });
    return out;
  }

 private:
  [[nodiscard]] bool is_below_moved(const std::string& path) const {
    for (std::size_t end = path.rfind('/'); end != std::string::npos && end != 0;
         end = path.rfind('/', end - 1)) {
      if (moved_.count(path.substr(0, end)) != 0) return true;
    }
    return false;
  }

  const SourceTree& source_;
  Places& places_;
  std::map<std::string, Change> changes_;
  std::map<std::string, Bound> made_;
  std::set<std::string> replaced_;
  std::set<std::string> moved_;  // from and to
};

using Paths = std::map<std::string, Bound>;

// Which names were touched, as renames.
void tell_renames(TouchedNames& touched, Report& report) {
  std::unordered_map<ObjectId, std::vector<std::size_t>> vanished;
  const auto& all = touched.all();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].then.object != 0 && !all[i].is_same()) vanished[all[i].then.object].push_back(i);
  }
  for (auto& [object, places] : vanished) {
    std::sort(places.begin(), places.end(), [&](std::size_t a, std::size_t b) {
      return std::tie(all[a].directory, all[a].name) > std::tie(all[b].directory, all[b].name);
    });
  }
  std::set<std::size_t> moved_away;
  std::vector<std::pair<std::size_t, std::size_t>> renamed;  // to, from
  std::vector<std::size_t> rest;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const TouchedName& one = all[i];
    if (one.now.object == 0 || one.is_same()) continue;
    const auto from = vanished.find(one.now.object);
    if (from == vanished.end() || from->second.empty() || !touched.existed(one.now.object)) {
      rest.push_back(i);
      continue;
    }
    renamed.emplace_back(i, from->second.back());
    moved_away.insert(from->second.back());
    from->second.pop_back();
  }
  for (const auto& [to, from] : renamed) {
    const auto path = touched.new_path(all[to].directory);
    const auto old = touched.old_path(all[from].directory);
    if (!path || !old) continue;
    report.renamed(join(*old, all[from].name), join(*path, all[to].name), all[to].now.stamp.mode);
  }
  for (const std::size_t i : rest) {
    const auto path = touched.new_path(all[i].directory);
    if (!path) continue;
    const std::string whole = join(*path, all[i].name);
    if (all[i].then.object != 0 && moved_away.count(i) == 0) {
      report.replaced(whole, all[i].then, all[i].now);
    } else {
      report.created(whole, all[i].now);
    }
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    const TouchedName& one = all[i];
    if (one.then.object == 0 || one.now.object != 0 || moved_away.count(i) != 0) continue;
    if (!touched.existed(one.directory)) continue;
    // Where it was: what is there now may be something else that was moved.
    if (const auto path = touched.old_path(one.directory)) {
      report.deleted(join(*path, one.name), one.then);
    }
  }
}

// The same path by path: what was at each then, what is at each now.
class Spelled {
 public:
  Spelled(ChangeStore& store, const SourceTree& source, Places& places, TouchedNames& touched)
      : store_(store), source_(source), places_(places), touched_(touched) {}

  void tell(Report& report) {
    for (const TouchedName& one : touched_.all()) {
      if (one.then.object != 0) {
        if (const auto path = touched_.old_path(one.directory)) {
          then_[join(*path, one.name)] = one.then;
        }
      }
      if (one.now.object != 0) {
        if (const auto path = touched_.new_path(one.directory)) {
          now_[join(*path, one.name)] = one.now;
        }
      }
      // What is below a directory that has moved was touched by nobody, and yet is elsewhere.
      if (one.then.object != 0 && S_ISDIR(one.then.stamp.mode) && !one.is_same()) {
        const auto from = touched_.old_path(one.then.object);
        const auto to = touched_.new_path(one.then.object);
        if (from && to) walk(one.then.object, *from, *to);
      }
    }
    for (const auto& [path, now] : now_) {
      const auto then = then_.find(path);
      if (then == then_.end()) {
        report.created(path, now);
      } else if (then->second.object != now.object) {
        report.replaced(path, then->second, now);
      }
    }
    for (const auto& [path, then] : then_) {
      if (now_.count(path) == 0) report.deleted(path, then);
    }
  }

 private:
  void walk(ObjectId directory, const std::string& from, const std::string& to) {
    if (!walked_.insert(directory).second) return;
    const UniqueFd fd = places_.open(directory);
    if (!fd.valid()) return;
    const auto listing = open_quietly(source_, fd.borrow(), O_DIRECTORY);
    if (!listing) return;
    std::vector<std::string> names;
    // What is listed up to an error is told.
    (void)for_each_name(listing->borrow(),
                        [&](const sys::RawDirent& entry) { names.emplace_back(entry.name); });
    for (const std::string& name : names) {
      const TouchedName* touched = touched_.find(directory, name);
      if (touched != nullptr && !touched->is_same()) continue;  // told for itself
      const auto st = look_at(fd.borrow(), name.c_str());
      if (!st) continue;
      Bound bound;
      bound.object = store_.ensure(key_of(*st), st->stx_mode, false);
      bound.stamp = Stamp::of(*st);
      now_[join(to, name)] = bound;
      touched_.as_it_was(bound);
      then_[join(from, name)] = bound;
      if (!S_ISDIR(st->stx_mode) || key_of(*st).device == places_.own_device()) continue;
      store_.link({directory, name}, bound.object, true);
      walk(bound.object, join(from, name), join(to, name));
    }
  }

  ChangeStore& store_;
  const SourceTree& source_;
  Places& places_;
  TouchedNames& touched_;
  Paths then_, now_;
  std::set<ObjectId> walked_;
};

}  // namespace

std::vector<Change> net_difference(ChangeStore& store, Places& places, const SourceTree& source,
                                   std::uint64_t since, bool renames) {
  places.refresh();
  TouchedNames touched(store, places, since);
  Report report(source, places);
  if (renames) {
    tell_renames(touched, report);
  } else {
    Spelled(store, source, places, touched).tell(report);
  }
  for (const AlteredObject& one : altered_since(store, places, source, since)) {
    for (const Place& place : one.names) {
      const auto above = touched.new_path(place.directory);
      if (!above && !place.name.empty()) continue;
      const std::string path = place.name.empty() ? std::string() : join(*above, place.name);
      if (report.is_new(path)) continue;
      Change& change = report.entry(path, one.mode);
      change.data = change.data || one.data;
      change.attributes = change.attributes || one.attributes;
      change.xattr = change.xattr || one.xattr;
    }
  }
  return report.take();
}

}  // namespace passthroughfs
