// SPDX-License-Identifier: Apache-2.0
#include "changes/touched.h"

#include <algorithm>

namespace passthroughfs {

std::string join(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

TouchedNames::TouchedNames(ChangeStore& store, Places& places, std::uint64_t since)
    : store_(store), places_(places), since_(since) {
  // Rows come by epoch: the first one of a name is how it was when the first of these began.
  store_.names_since(since, [&](const NameRow& row) {
    auto& names = index_[row.directory];
    if (!names.try_emplace(row.name, all_.size()).second) return;
    TouchedName& touched = all_.emplace_back();
    touched.directory = row.directory;
    touched.name = row.name;
    touched.then = {row.before, row.stamp, row.xattrs};
  });
  for (std::size_t i = 0; i < all_.size(); ++i) {
    const Bound& then = all_[i].then;
    if (then.object != 0 && S_ISDIR(then.stamp.mode)) old_names_[then.object] = i;
  }
  look_at_then();
  find_directories();
  look_at_now();
}

// What a name stood for may have been changed before the name was touched.
void TouchedNames::look_at_then() {
  store_.inodes_since(since_, [&](const InodeRow& row) {
    Said& said = said_[row.object];
    if (!said.stamp.known()) said.stamp = row.stamp;
    if (said.xattrs == 0) said.xattrs = row.xattrs;
  });
  for (TouchedName& touched : all_) as_it_was(touched.then);
}

void TouchedNames::as_it_was(Bound& bound) const {
  const auto said = said_.find(bound.object);
  if (said == said_.end()) return;
  if (said->second.stamp.known()) bound.stamp = said->second.stamp;
  if (said->second.xattrs != 0) bound.xattrs = said->second.xattrs;
}

// Directories whose place was never learned, because the process that touched them was killed.
void TouchedNames::find_directories() {
  std::unordered_set<ObjectId> lost;
  for (const auto& [directory, names] : index_) {
    if (directory != ChangeStore::kRoot && old_names_.count(directory) == 0 &&
        store_.is_current(directory) && !store_.has_place(directory) &&
        !places_.open(directory).valid()) {
      lost.insert(directory);
    }
  }
  places_.search(lost);
}

void TouchedNames::look_at_now() {
  std::vector<std::size_t> order(all_.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [this](std::size_t a, std::size_t b) { return all_[a].directory < all_[b].directory; });
  ObjectId opened = 0;
  UniqueFd fd;
  for (const std::size_t i : order) {
    TouchedName& touched = all_[i];
    if (touched.directory != opened) {
      opened = touched.directory;
      fd = places_.open(opened);
    }
    if (!fd.valid()) continue;
    const auto st = look_at(fd.borrow(), touched.name.c_str());
    if (!st) continue;
    touched.now.object = store_.ensure(key_of(*st), st->stx_mode, false);
    touched.now.stamp = Stamp::of(*st);
  }
}

const TouchedName* TouchedNames::find(ObjectId directory, const std::string& name) const {
  const auto names = index_.find(directory);
  if (names == index_.end()) return nullptr;
  const auto found = names->second.find(name);
  return found == names->second.end() ? nullptr : &all_[found->second];
}

bool TouchedNames::existed(ObjectId object) { return store_.birth(object) < since_; }

std::optional<std::string> TouchedNames::old_path(ObjectId directory) {
  if (directory == ChangeStore::kRoot) return std::string();
  if (const auto known = old_paths_.find(directory); known != old_paths_.end()) {
    return known->second;
  }
  old_paths_[directory] = std::nullopt;  // should the tables go in a circle
  if (!existed(directory)) return std::nullopt;
  Place place;
  if (const auto was = old_names_.find(directory); was != old_names_.end()) {
    place = {all_[was->second].directory, all_[was->second].name};
  } else {
    auto places = store_.places(directory);
    if (places.empty()) return std::nullopt;
    place = std::move(places.front());
  }
  const auto above = old_path(place.directory);
  if (!above) return std::nullopt;
  return old_paths_[directory] = join(*above, place.name);
}

std::optional<std::string> TouchedNames::new_path(ObjectId directory) {
  if (const auto known = new_paths_.find(directory); known != new_paths_.end()) {
    return known->second;
  }
  return new_paths_[directory] = places_.true_path(directory);
}

}  // namespace passthroughfs
