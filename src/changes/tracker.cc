// SPDX-License-Identifier: Apache-2.0
#include "changes/tracker.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>

#include "changes/digest.h"
#include "changes/look.h"
#include "table/slot_table.h"

namespace passthroughfs {
namespace {

// Longer than a tick of any kernel's clock.
constexpr std::int64_t kTick = 20'000'000;  // nanoseconds

constexpr std::uint8_t kEverything = 0xff;

// `fd`: the inode's, of any kind.
bool has_capabilities(const InodeRef& inode, BorrowedFd fd) noexcept {
  constexpr const char* kName = "security.capability";
  if (inode->type != S_IFREG) return false;
  const ssize_t size = ::fgetxattr(fd.get(), kName, nullptr, 0);
  if (size >= 0 || errno != EBADF) return size > 0;
  const auto by_path = sys::get_xattr(fd, kName, {});  // O_PATH is all there is
  return by_path && *by_path > 0;
}

ObjectKey key_of(const InodeRef& inode) noexcept { return {inode->key.device, inode->key.ino}; }

}  // namespace

Result<std::unique_ptr<ChangeTracker>> ChangeTracker::create(ChangeLog& log, InodeTable& inodes,
                                                             std::uint32_t capacity,
                                                             SourceTraits traits) {
  Region said = TRY(Region::create("said", std::size_t{capacity} * sizeof(Said)));
  return std::unique_ptr<ChangeTracker>(new ChangeTracker(log, inodes, traits, std::move(said)));
}

Stamp ChangeTracker::stamp(const struct statx& st) const noexcept {
  Stamp stamp = Stamp::of(st);
  if (!traits_.fine_times || key_of(st).device != traits_.root_device) {
    timespec now{};
    (void)::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    const std::int64_t since = now.tv_sec * 1'000'000'000 + now.tv_nsec - stamp.ctime;
    stamp.racy = since < kTick ? 1 : 0;
  }
  return stamp;
}

Stamp ChangeTracker::stamp_of(BorrowedFd fd) const noexcept {
  const auto st = look_at(fd, "");
  return st ? stamp(*st) : Stamp{};
}

// ---- what has been said -------------------------------------------------------------------------

ChangeTracker::Said& ChangeTracker::said(const InodeRef& inode) const noexcept {
  return *(std::launder(reinterpret_cast<Said*>(said_region_.data())) + inodes_.slot_of(inode));
}

bool ChangeTracker::is_said(const InodeRef& inode, std::uint64_t epoch,
                            std::uint8_t marks) const noexcept {
  const Said& entry = said(inode);
  // The slot's earlier owner is told from this one by its number, which is written last.
  if (entry.node.load(std::memory_order_acquire) != inode.id()) return false;
  const std::uint64_t known = entry.marks.load(std::memory_order_acquire);
  return known >> kEpochShift == epoch && (known & marks) == marks;
}

std::uint64_t ChangeTracker::hold_for_place(const InodeRef& inode) noexcept {
  Said& entry = said(inode);
  const bool mine = entry.node.load(std::memory_order_relaxed) == inode.id();
  const std::uint64_t known = mine ? entry.marks.load(std::memory_order_relaxed) : 0;
  if ((known & kLocated) != 0) return 0;
  inodes_.hold(inode);
  entry.marks.store(known | kLocated, std::memory_order_release);
  entry.node.store(inode.id(), std::memory_order_release);
  return inode.id();
}

// Once for each directory that the mount comes to know.
void ChangeTracker::tell_place(const InodeRef& directory) noexcept {
  const Said& entry = said(directory);
  if (entry.node.load(std::memory_order_acquire) == directory.id() &&
      (entry.marks.load(std::memory_order_acquire) & kLocated) != 0) {
    return;
  }
  MutexLock lock(mutexes_[directory.id() % mutexes_.size()]);
  InodeRecord record;
  record.held = hold_for_place(directory);
  if (record.held == 0) return;
  record.epoch = log_.epoch();
  record.key = key_of(directory);
  record.stamp = stamp_of(directory.fd());
  std::array<std::byte, kMaxRecordBytes> bytes;
  log_.append(ByteSpan(bytes).first(encode(record, bytes)));
}

void ChangeTracker::say(const InodeRef& inode, BorrowedFd fd, std::uint64_t epoch,
                        std::uint8_t marks, bool again) noexcept {
  MutexLock lock(mutexes_[inode.id() % mutexes_.size()]);
  if (!again && is_said(inode, epoch, marks)) return;
  InodeRecord record;
  record.epoch = epoch;
  record.key = key_of(inode);
  if (fd.valid()) {
    record.stamp = stamp_of(fd);
    // Whoever writes to it or gives it to another takes them from it.
    if ((marks & mark::kXattr) == 0 && has_capabilities(inode, fd)) {
      marks |= mark::kXattr;
    }
    if ((marks & mark::kXattr) != 0) record.xattrs = digest_xattrs(inode.fd());
    if ((marks & mark::kMapped) != 0) record.content = digest_content(fd, kMostComparedBytes);
  }
  record.marks = marks;
  record.held = hold_for_place(inode);
  std::array<std::byte, kMaxRecordBytes> bytes;
  log_.append(ByteSpan(bytes).first(encode(record, bytes)));
  // Only now may others rely on it.
  Said& entry = said(inode);
  const std::uint64_t known = entry.marks.load(std::memory_order_relaxed);
  const std::uint64_t kept = known >> kEpochShift == epoch ? known & kEverything : 0;
  entry.marks.store(epoch << kEpochShift | kLocated | kept | marks, std::memory_order_release);
}

void ChangeTracker::opens(const InodeRef& inode, BorrowedFd fd, bool readable) noexcept {
  const std::uint64_t epoch = log_.epoch();
  std::uint8_t marks = mark::kQuestion;
  if (readable && traits_.silent_mappings) {
    marks |= mark::kMapped;
  } else if (is_said(inode, epoch, mark::kData)) {
    return;
  }
  if (!is_said(inode, epoch, marks)) say(inode, fd, epoch, marks, false);
}

void ChangeTracker::asks_again(const InodeRef& inode, BorrowedFd fd, bool mappable) noexcept {
  std::uint8_t marks = mark::kQuestion;
  if (mappable && traits_.silent_mappings) marks |= mark::kMapped;
  say(inode, fd, log_.epoch(), marks, false);
}

void ChangeTracker::made(const InodeRef& inode) noexcept {
  MutexLock lock(mutexes_[inode.id() % mutexes_.size()]);
  Said& entry = said(inode);
  entry.marks.store(log_.epoch() << kEpochShift | kLocated | kEverything,
                    std::memory_order_release);
  entry.node.store(inode.id(), std::memory_order_release);
}

void ChangeTracker::made_nameless(const InodeRef& inode, std::uint32_t mode) noexcept {
  std::array<std::byte, kMaxRecordBytes> bytes;
  const BornRecord record{log_.epoch(), key_of(inode), mode};
  log_.append(ByteSpan(bytes).first(encode(record, bytes)));
  made(inode);
}

// ---- InodeChange --------------------------------------------------------------------------------

InodeChange::InodeChange(ChangeTracker* tracker, const InodeRef& inode, BorrowedFd fd,
                         std::uint8_t marks) noexcept
    : tracker_(tracker), inode_(inode), marks_(marks) {
  if (tracker_ == nullptr) return;
  epoch_ = tracker_->log_.epoch();
  intent_ = tracker_->log_.begin();
  InodeRecord record;
  record.epoch = epoch_;
  record.key = key_of(inode);
  record.marks = static_cast<std::uint8_t>(marks | mark::kCertain);
  intent_.arm(encode(record, intent_.room()));
  if (!tracker_->is_said(inode, epoch_, marks)) tracker_->say(inode, fd, epoch_, marks, false);
}

InodeChange::~InodeChange() {
  if (tracker_ == nullptr) return;
  const std::uint64_t now = tracker_->log_.epoch();
  if (now != epoch_) {
    tracker_->say(inode_, BorrowedFd(-1), now, static_cast<std::uint8_t>(marks_ | mark::kCertain),
                  true);
  }
}

// ---- NamesChange --------------------------------------------------------------------------------

bool NamesChange::set(Binding& binding, const InodeRef& directory, std::string_view name) noexcept {
  if (name.empty() || name.size() > kMaxLoggedName) return false;
  binding.directory = key_of(directory);
  binding.name = name;
  tracker_->tell_place(directory);
  return true;
}

void NamesChange::look(Binding& binding, const InodeRef& directory, bool replaced) noexcept {
  const auto st = look_at(directory.fd(), binding.name.data());
  if (!st) return;
  binding.before = key_of(*st);
  binding.before_stamp = tracker_->stamp(*st);
  binding.last = S_ISDIR(st->stx_mode) || st->stx_nlink <= 1;
  // Of a file that is removed they are not worth the time: another one in its place is other data.
  if (replaced || S_ISDIR(st->stx_mode)) {
    binding.before_xattrs = digest_xattrs(directory.fd(), binding.name.data());
  }
}

void NamesChange::arm() noexcept {
  record_.epoch = tracker_->log_.epoch();
  intent_ = tracker_->log_.begin();
  intent_.arm(encode(record_, intent_.room()));
}

void NamesChange::append() noexcept {
  // Whichever epoch it was when the call was made, it is not over for longer than this.
  record_.epoch = tracker_->log_.epoch();
  std::array<std::byte, kMaxRecordBytes> bytes;
  tracker_->log_.append(ByteSpan(bytes).first(encode(record_, bytes)));
  record_.count = 0;
  // A process that is killed from here on leaves the record alone.
  intent_.end();
}

void NamesChange::creates(const InodeRef& directory, std::string_view name) noexcept {
  if (tracker_ == nullptr) return;
  if (!set(record_.bindings[0], directory, name)) return;
  record_.bindings[0].born = true;
  record_.count = 1;
  arm();
}

void NamesChange::links(const InodeRef& directory, std::string_view name) noexcept {
  if (tracker_ == nullptr) return;
  if (!set(record_.bindings[0], directory, name)) return;
  record_.count = 1;
  arm();
}

void NamesChange::removes(const InodeRef& directory, std::string_view name) noexcept {
  if (tracker_ == nullptr) return;
  if (!set(record_.bindings[0], directory, name)) return;
  look(record_.bindings[0], directory, false);
  record_.count = 1;
  arm();
}

void NamesChange::moves(const InodeRef& from, std::string_view old_name, const InodeRef& to,
                        std::string_view new_name, unsigned flags) noexcept {
  if (tracker_ == nullptr) return;
  Binding& source = record_.bindings[0];
  Binding& target = record_.bindings[1];
  if (!set(source, from, old_name) || !set(target, to, new_name)) return;
  look(source, from, false);
  look(target, to, (flags & RENAME_EXCHANGE) == 0);
  // Two names of one file: the call does nothing.
  if (source.before.exists() && source.before == target.before) return;
  source.last = false;
  if ((flags & RENAME_EXCHANGE) != 0) target.last = false;
  target.after = source.before;
  target.after_mode = source.before_stamp.mode;
  if ((flags & RENAME_EXCHANGE) != 0) {
    source.after = target.before;
    source.after_mode = target.before_stamp.mode;
  }
  whiteout_ = (flags & RENAME_WHITEOUT) != 0 ? &from : nullptr;
  record_.count = 2;
  arm();
}

void NamesChange::happened() noexcept {
  if (tracker_ == nullptr || record_.count == 0) return;
  if (whiteout_ != nullptr) {
    Binding& source = record_.bindings[0];
    if (const auto st = look_at(whiteout_->fd(), source.name.data())) {
      source.after = key_of(*st);
      source.after_mode = st->stx_mode;
      source.born = true;
    }
  }
  append();
}

void NamesChange::made_unseen(const InodeRef& directory) noexcept {
  if (tracker_ == nullptr || record_.count == 0) return;
  Binding& binding = record_.bindings[0];
  const auto st = look_at(directory.fd(), binding.name.data());
  if (!st) return;
  binding.after = key_of(*st);
  binding.after_mode = st->stx_mode;
  append();
}

void NamesChange::made(const InodeRef& inode) noexcept {
  if (tracker_ == nullptr || record_.count == 0) return;
  Binding& binding = record_.bindings[0];
  binding.after = key_of(inode);
  binding.after_mode = inode->type;
  append();
  if (binding.born) tracker_->made(inode);
}

}  // namespace passthroughfs
