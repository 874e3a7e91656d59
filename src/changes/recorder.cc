// SPDX-License-Identifier: Apache-2.0
#include "changes/recorder.h"

#include <sys/stat.h>

#include <array>

#include "table/slot_table.h"

namespace passthroughfs {

// A node was held until its place is known.
void Recorder::let_go(std::uint64_t held, ObjectKey key) {
  if (held == 0 || dead_ || again_) return;
  places_.learn_if_needed(held, key);
  inodes_.drop_hold(SlotNumber::slot(held));
}

void Recorder::names(const NamesRecord& record) {
  std::array<Place, 2> places;
  std::array<ObjectId, 2> before{};
  for (std::size_t i = 0; i < record.count; ++i) {
    const Binding& binding = record.bindings[i];
    places[i].directory = store_.ensure(binding.directory, S_IFDIR, true);
    places[i].name = binding.name;
    if (binding.before.exists()) {
      before[i] = store_.ensure(binding.before, binding.before_stamp.mode, true);
    }
    census_.before_name(places[i], before[i], binding.before_stamp);
    store_.add(NameRow{record.epoch, places[i].directory, places[i].name, before[i],
                       binding.before_stamp, binding.before_xattrs});
    if (keep_known_) store_.add_stale(places[i]);
  }
  for (std::size_t i = 0; i < record.count; ++i) store_.unlink(places[i]);
  for (std::size_t i = 0; i < record.count; ++i) {
    const Binding& binding = record.bindings[i];
    if (!binding.after.exists()) continue;
    if (binding.born) census_.before_end(binding.after);
    const ObjectId after = binding.born
                               ? store_.born(binding.after, binding.after_mode, record.epoch)
                               : store_.ensure(binding.after, binding.after_mode, true);
    store_.link(places[i], after, S_ISDIR(binding.after_mode));
  }
  for (std::size_t i = 0; i < record.count; ++i) {
    if (!record.bindings[i].after.exists()) store_.drop_if_transient(record.epoch, places[i]);
    if (before[i] == 0) continue;
    if (record.bindings[i].last) store_.end(before[i]);
    store_.nameless(before[i], record.epoch);
  }
}

void Recorder::inode(const InodeRecord& record) {
  if (record.marks == 0) {
    let_go(record.held, record.key);
    census_.before_inode(store_.ensure(record.key, S_IFDIR, true), record.stamp);
    return;
  }
  const ObjectId object = store_.ensure(record.key, record.stamp.mode, true);
  let_go(record.held, record.key);
  if (keep_known_) store_.add_stale(object);
  if (store_.birth(object) == record.epoch) return;  // new in this epoch, whatever else it is
  census_.before_inode(object, record.stamp);
  store_.add(
      InodeRow{record.epoch, object, record.marks, record.stamp, record.xattrs, record.content});
}

void Recorder::born(const BornRecord& record) {
  census_.before_end(record.key);
  (void)store_.born(record.key, record.mode, record.epoch);
}

namespace {

// Looks at what became of the names of an operation that may or may not have been carried out.
class Settler final : public RecordVisitor {
 public:
  Settler(ChangeStore& store, Places& places, Recorder& recorder)
      : store_(store), places_(places), recorder_(recorder) {}

  void names(const NamesRecord& record) override {
    NamesRecord settled = record;
    for (std::size_t i = 0; i < settled.count; ++i) {
      Binding& binding = settled.bindings[i];
      binding.after = {};
      binding.last = false;
      const UniqueFd directory = places_.open(store_.ensure(binding.directory, S_IFDIR, true));
      if (!directory.valid()) continue;
      const auto st = look_at(directory.borrow(), std::string(binding.name).c_str());
      if (!st) continue;
      binding.after = key_of(*st);
      binding.after_mode = st->stx_mode;
    }
    // It was killed between the record and the end of the intent: all of it is known.
    const Binding& only = settled.bindings[0];
    if (only.born && only.after.exists() &&
        store_.at({store_.find(only.directory), std::string(only.name)}) ==
            store_.find(only.after)) {
      return;
    }
    recorder_.names(settled);
  }
  void inode(const InodeRecord& record) override { recorder_.inode(record); }
  void born(const BornRecord& record) override { recorder_.born(record); }

 private:
  ChangeStore& store_;
  Places& places_;
  Recorder& recorder_;
};

}  // namespace

void Recorder::intent(ByteSpan bytes) {
  Settler settler(store_, places_, *this);
  (void)decode(bytes, settler);  // a damaged one tells nothing
}

}  // namespace passthroughfs
