// SPDX-License-Identifier: Apache-2.0
#include "table/inode_table.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <functional>
#include <new>

#include "source/sys.h"
#include "table/ledger.h"
#include "wire/opcode.h"

namespace passthroughfs {
namespace {

constexpr std::size_t kSweepBatch = 32;
constexpr std::uint32_t kBitsPerWord = 64;

FileHandle saved_handle(const Inode& inode) noexcept {
  FileHandle out;
  out.mount_id = inode.handle_mount;
  out.type = inode.handle_type;
  out.bytes = inode.handle_bytes;
  std::memcpy(out.data, inode.handle, inode.handle_bytes);
  return out;
}

void save_handle(Inode& inode, const FileHandle& handle) noexcept {
  inode.handle_mount = handle.mount_id;
  inode.handle_type = handle.type;
  std::memcpy(inode.handle, handle.data, handle.bytes);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  inode.handle_bytes = handle.bytes;
}

bool serves_forget() noexcept {
  const Ledger* const ledger = ledger_in_hand().ledger;
  if (ledger == nullptr) return false;
  const auto opcode = static_cast<wire::Opcode>(ledger->opcode);
  return opcode == wire::Opcode::forget || opcode == wire::Opcode::batch_forget;
}

}  // namespace

InodeRef& InodeRef::operator=(InodeRef&& other) noexcept {
  if (this != &other) {
    reset();
    table_ = other.table_;
    inode_ = std::exchange(other.inode_, nullptr);
  }
  return *this;
}

NodeId InodeRef::id() const noexcept { return table_->id_of(*inode_); }

void InodeRef::reset() noexcept {
  if (inode_ != nullptr) table_->unpin(*std::exchange(inode_, nullptr));
}

Result<std::unique_ptr<InodeTable>> InodeTable::create(SourceTree& source, FdBudget& budget,
                                                       std::uint32_t capacity, Regions& regions) {
  Region region = TRY(regions.make("passthroughfs-inodes", SlotTable<Inode>::bytes_for(capacity)));
  Region evictable = TRY(Region::create("passthroughfs-evictable", capacity / 8 + 8));
  Region unsaved = TRY(Region::create("passthroughfs-unsaved", capacity / 8 + 8));
  std::unique_ptr<InodeTable> table(
      new InodeTable(source, budget, std::move(region), std::move(evictable), std::move(unsaved)));
  table->owned_ = !regions.continued();
  const auto begun = regions.continued() ? table->slots_.check() : table->add_root();
  if (!begun) return begun.error();
  return table;
}

InodeTable::InodeTable(SourceTree& source, FdBudget& budget, Region region, Region evictable,
                       Region unsaved)
    : source_(source),
      budget_(budget),
      slots_(std::move(region), static_cast<std::uint32_t>(kRoot)),
      evictable_(std::move(evictable)),
      unsaved_(std::move(unsaved)) {
  for (Shard& shard : shards_) {
    MutexLock lock(shard.mutex);
    shard.buckets.assign(16, 0);
  }
}

InodeTable::~InodeTable() {
  if (!owned_) return;
  const std::uint32_t end = slots_.high_water();
  for (auto slot = static_cast<std::uint32_t>(kRoot); slot < end; ++slot) {
    Inode& inode = slots_.at(slot);
    // A free slot's descriptor is -1 too, so this closes exactly what is still held.
    if (inode.key.ino == 0 || inode.fd.load() < 0) continue;
    UniqueFd(inode.fd.exchange(-1)).reset();
    budget_.remove();
  }
}

// The root is node 1, generation 0: the first slot of a fresh table. The kernel never forgets it.
Result<void> InodeTable::add_root() {
  UniqueFd fd = TRY(duplicate(source_.root()));
  const struct statx st = TRY(sys::stat_at(fd.borrow()));
  if (auto handle = FileHandle::of(fd.borrow())) {
    // Without it inodes keep their descriptors; the mount works, up to the limit.
    (void)source_.mounts().remember(handle->mount_id, fd.borrow());
  }
  const std::uint64_t number = TRY(slots_.allocate());
  Inode& root = slots_.at(SlotNumber::slot(number));
  root.key = {device_number(st.stx_dev_major, st.stx_dev_minor), st.stx_ino};
  root.fd.store(fd.release());
  root.type = S_IFDIR;
  root.nlookup = 1;
  root.holds = 1;
  budget_.add();
  known_.fetch_add(1);
  Shard& shard = shard_of(root.key);
  {
    MutexLock lock(shard.mutex);
    insert_locked(shard, root);
  }
  slots_.publish(root, 0);
  return ok();
}

std::uint64_t InodeTable::hash(InodeKey key) noexcept {
  std::uint64_t h = key.ino * 0x9e3779b97f4a7c15ULL ^ key.device * 0xc2b2ae3d27d4eb4fULL;
  h ^= h >> 29;
  h *= 0xbf58476d1ce4e5b9ULL;
  return h ^ (h >> 32);
}

Inode* InodeTable::find_locked(Shard& shard, InodeKey key) noexcept {
  const std::size_t bucket = (hash(key) / kShards) & (shard.buckets.size() - 1);
  for (std::uint32_t slot = shard.buckets[bucket]; slot != 0;) {
    Inode& inode = slots_.at(slot);
    if (inode.key.ino == key.ino && inode.key.device == key.device) return &inode;
    slot = inode.next;
  }
  return nullptr;
}

void InodeTable::grow_locked(Shard& shard) noexcept {
  std::vector<std::uint32_t> larger;
  try {
    larger.assign(shard.buckets.size() * 2, 0);
  } catch (const std::bad_alloc&) {
    return;  // longer chains, until there is memory again
  }
  for (std::uint32_t head : shard.buckets) {
    while (head != 0) {
      Inode& moved = slots_.at(head);
      const std::uint32_t rest = moved.next;
      std::uint32_t& bucket = larger[(hash(moved.key) / kShards) & (larger.size() - 1)];
      moved.next = bucket;
      bucket = head;
      head = rest;
    }
  }
  shard.buckets.swap(larger);
}

void InodeTable::insert_locked(Shard& shard, Inode& inode) noexcept {
  if (shard.used >= shard.buckets.size()) grow_locked(shard);
  std::uint32_t& bucket = shard.buckets[(hash(inode.key) / kShards) & (shard.buckets.size() - 1)];
  inode.next = bucket;
  bucket = slots_.slot_of(inode);
  inode.unhashed = 0;
  ++shard.used;
}

void InodeTable::remove_locked(Shard& shard, Inode& inode) noexcept {
  if (inode.unhashed != 0) return;
  const std::uint32_t slot = slots_.slot_of(inode);
  std::uint32_t* link = &shard.buckets[(hash(inode.key) / kShards) & (shard.buckets.size() - 1)];
  while (*link != 0 && *link != slot) link = &slots_.at(*link).next;
  if (*link == slot) {
    *link = inode.next;
    --shard.used;
  }
  inode.next = 0;
  inode.unhashed = 1;
}

Result<InodeRef> InodeTable::pin(NodeId id) noexcept {
  Inode* inode = slots_.pin(id);
  if (inode == nullptr) return Err(ESTALE);
  return InodeRef(this, inode);
}

Result<InodeRef> InodeTable::get(NodeId id) noexcept {
  InodeRef ref = TRY(pin(id));
  ref->recently_used.store(1, std::memory_order_relaxed);
  if (ref->fd.load(std::memory_order_acquire) < 0) {
    auto restored = restore(*ref);
    if (!restored) return restored.error();
  }
  return ref;
}

Result<InodeRef> InodeTable::find(InodeKey key) noexcept {
  Shard& shard = shard_of(key);
  InodeRef ref;
  {
    MutexLock lock(shard.mutex);
    Inode* inode = find_locked(shard, key);
    if (inode == nullptr || !slots_.is_live(*inode)) return Err(ENOENT);
    slots_.pin_again(*inode);
    ref = InodeRef(this, inode);
  }
  if (ref->fd.load(std::memory_order_acquire) < 0) {
    auto restored = restore(*ref);
    if (!restored) return restored.error();
  }
  return ref;
}

NodeId InodeTable::known_as(InodeKey key) noexcept {
  Shard& shard = shard_of(key);
  MutexLock lock(shard.mutex);
  const Inode* const inode = find_locked(shard, key);
  return inode != nullptr && slots_.is_live(*inode) ? id_of(*inode) : 0;
}

bool InodeTable::kernel_knows(NodeId id) noexcept {
  if (id == kRoot) return true;
  const auto inode = pin(id);
  if (!inode) return false;
  Shard& shard = shard_of((*inode)->key);
  MutexLock lock(shard.mutex);
  return (*inode)->nlookup != 0;
}

std::uint32_t InodeTable::place_of(NodeId parent, std::string_view name) noexcept {
  return static_cast<std::uint32_t>(hash({parent, std::hash<std::string_view>{}(name)}));
}

bool InodeTable::is_told_at(InodeKey key, std::uint32_t place) noexcept {
  Shard& shard = shard_of(key);
  MutexLock lock(shard.mutex);
  const Inode* const inode = find_locked(shard, key);
  return inode != nullptr && inode->told_place.load(std::memory_order_relaxed) == place;
}

// Whether an inode without a descriptor is still the file that `fd` shows: its number may have been
// given to another file since.
bool InodeTable::same_file(const Inode& inode, BorrowedFd fd) noexcept {
  auto handle = FileHandle::of(fd);
  return handle && saved_handle(inode).same_file(*handle);
}

Result<InodeRef> InodeTable::lookup(UniqueFd fd, InodeKey key, std::uint16_t type) noexcept {
  Shard& shard = shard_of(key);
  InodeRef ref;
  bool added = false;
  UniqueFd spare;  // closed after the lock
  {
    MutexLock lock(shard.mutex);
    Inode* inode = find_locked(shard, key);
    // While its descriptor is open the number cannot belong to another file, and reading it as
    // open here, with ours open too, proves that both are one. Without it only the handles tell.
    if (inode != nullptr && inode->fd.load(std::memory_order_acquire) < 0 &&
        !same_file(*inode, fd.borrow())) {
      remove_locked(shard, *inode);
      inode = nullptr;
    }
    if (inode != nullptr) {
      // Not live: forgotten, but an operation still has it pinned. The kernel may have its number
      // again, for it is the same file.
      if (!slots_.is_live(*inode)) slots_.revive(*inode);
      slots_.pin_again(*inode);
      CountChange change(CountChange::kGrant, slots_.slot_of(*inode), inode->nlookup,
                         inode->nlookup + 1);
      ++inode->nlookup;
      change.end();
      inode->recently_used.store(1, std::memory_order_relaxed);
      int none = -1;
      if (inode->fd.compare_exchange_strong(none, fd.get(), std::memory_order_acq_rel)) {
        (void)fd.release();
        budget_.add();
        set_evictable(*inode, true);
      }
      spare = std::move(fd);
      ref = InodeRef(this, inode);
    } else {
      auto number = slots_.allocate();
      if (!number) return number.error();
      inode = &slots_.at(SlotNumber::slot(*number));
      CountChange change(CountChange::kGrant, SlotNumber::slot(*number), 0, 1);
      inode->key = key;
      inode->type = type;
      inode->nlookup = 1;
      inode->holds = 0;
      inode->handle_bytes = 0;
      inode->backing_id = 0;
      inode->backing_users = 0;
      inode->daemon_opens = 0;
      inode->mappable_opens.store(0, std::memory_order_relaxed);
      inode->maybe_mapped.store(0, std::memory_order_relaxed);
      inode->direct_appends.store(0, std::memory_order_relaxed);
      inode->vain_waits.store(0, std::memory_order_relaxed);
      inode->told_place.store(0, std::memory_order_relaxed);
      inode->cached_version.store(0, std::memory_order_relaxed);
      inode->recently_used.store(1, std::memory_order_relaxed);
      inode->fd.store(fd.release(), std::memory_order_release);
      budget_.add();
      known_.fetch_add(1, std::memory_order_relaxed);
      set_evictable(*inode, true);
      insert_locked(shard, *inode);
      slots_.publish(*inode, 1);
      if (keeps_handles_) set_unsaved(SlotNumber::slot(*number));
      change.end();
      ref = InodeRef(this, inode);
      added = true;
    }
  }
  if (budget_.exceeded() && sweep() == 0 && added && budget_.exhausted()) {
    // Half of the reserve is gone and nothing can be given up: this lookup fails, the mount lives.
    (void)forget(ref.id(), 1);
    return Err(ENFILE);
  }
  return ref;
}

InodeTable::Remains::~Remains() {
  if (backing_id != 0 && table.backing_closer_ != nullptr) {
    table.backing_closer_(table.backing_context_, backing_id);
  }
}

void InodeTable::destroy_locked(Shard& shard, Inode& inode, Remains& remains) noexcept {
  remove_locked(shard, inode);
  const int fd = inode.fd.exchange(-1, std::memory_order_acq_rel);
  if (fd >= 0) {
    remains.fd.reset(fd);
    budget_.remove();
    set_evictable(inode, false);
  }
  remains.backing_id = std::exchange(inode.backing_id, 0);
  inode.key = {0, 0};
  known_.fetch_sub(1, std::memory_order_relaxed);
  slots_.free(inode);
}

// Ends an inode that neither the kernel nor a handle knows. If an operation still has it pinned,
// that operation's unpin ends it.
void InodeTable::release_if_unused_locked(Shard& shard, Inode& inode, Remains& remains) noexcept {
  if (inode.nlookup != 0 || inode.holds != 0) return;
  const auto owned =
      slots_.retire(inode, SlotNumber::generation(slots_.number_of(inode, slots_.slot_of(inode))));
  if (owned.has_value() && *owned) destroy_locked(shard, inode, remains);
}

bool InodeTable::forget(NodeId id, std::uint64_t count) noexcept {
  // The pin keeps the slot this node's while its shard is found and locked.
  Inode* inode = slots_.pin(id);
  if (inode == nullptr) return false;
  bool exact = true;
  Shard& shard = shard_of(inode->key);
  Remains remains(*this);
  {
    MutexLock lock(shard.mutex);
    exact = id == kRoot || inode->nlookup >= count;
    // The kernel never counts the root.
    const std::uint64_t left = id == kRoot ? inode->nlookup : exact ? inode->nlookup - count : 0;
    CountChange change(serves_forget() ? CountChange::kForget : CountChange::kTakeBack,
                       slots_.slot_of(*inode), inode->nlookup, left);
    inode->nlookup = left;
    // Before the slot can become another inode's.
    change.end();
    release_if_unused_locked(shard, *inode, remains);
  }
  unpin(*inode);
  return exact;
}

void InodeTable::hold(const InodeRef& inode) noexcept {
  Shard& shard = shard_of(inode->key);
  MutexLock lock(shard.mutex);
  // Forgotten meanwhile: without this our pin would be the last, and its end the inode's.
  if (!slots_.is_live(*inode)) slots_.revive(*inode);
  ++inode->holds;
}

void InodeTable::drop_hold(std::uint32_t slot) noexcept {
  Inode& inode = slots_.at(slot);
  Shard& shard = shard_of(inode.key);
  Remains remains(*this);
  MutexLock lock(shard.mutex);
  if (inode.holds > 0) --inode.holds;
  release_if_unused_locked(shard, inode, remains);
}

void InodeTable::unpin(Inode& inode) noexcept {
  if (slots_.unpin_unless_last(inode)) return;
  // Retired, and ours is the last pin. A lookup may revive the inode at any moment, so the end is
  // decided under the lock that lookups take; until then our pin keeps the record what it is.
  Shard& shard = shard_of(inode.key);
  Remains remains(*this);
  MutexLock lock(shard.mutex);
  if (slots_.unpin(inode)) destroy_locked(shard, inode, remains);
}

Result<void> InodeTable::restore(Inode& inode) noexcept {
  MutexLock lock(restore_locks_[slots_.slot_of(inode) % kRestoreLocks]);
  if (inode.fd.load(std::memory_order_acquire) >= 0) return ok();
  const FileHandle handle = saved_handle(inode);
  const auto open = [&]() -> Result<UniqueFd> {
    if (handle.bytes == 0) return Err(ESTALE);
    const BorrowedFd mount = TRY(source_.mounts().find(handle.mount_id));
    UniqueFd fd = TRY(handle.open(mount));
    // The mount may have been found by its number alone.
    if (was_forgotten_ && !is_open_on(fd.get(), inode)) return Err(ESTALE);
    return fd;
  };
  auto fd = open();
  if (!fd && (fd.error() == EMFILE || fd.error() == ENFILE) && relieve()) fd = open();
  if (!fd && fd.error() == ESTALE && orphan_finder_ != nullptr) {
    try {
      fd = orphan_finder_(orphan_context_, id_of(inode));
    } catch (const std::bad_alloc&) {
      fd = Err(ENOMEM);
    }
  }
  if (!fd) return fd.error() == ENOENT ? Err(ESTALE) : fd.error();
  int none = -1;
  if (inode.fd.compare_exchange_strong(none, fd->get(), std::memory_order_acq_rel)) {
    (void)fd->release();
    budget_.add();
    set_evictable(inode, true);
    restores_.fetch_add(1, std::memory_order_relaxed);
  }
  if (budget_.exceeded()) (void)sweep();
  return ok();
}

std::atomic<std::uint64_t>& InodeTable::word_of(const Region& bits, std::uint32_t slot) noexcept {
  auto* words = reinterpret_cast<std::atomic<std::uint64_t>*>(bits.data());
  return words[slot / kBitsPerWord];
}

void InodeTable::set_evictable(const Inode& inode, bool evictable) noexcept {
  const std::uint32_t slot = slots_.slot_of(inode);
  const std::uint64_t bit = std::uint64_t{1} << (slot % kBitsPerWord);
  if (evictable) {
    word_of(evictable_, slot).fetch_or(bit, std::memory_order_relaxed);
  } else {
    word_of(evictable_, slot).fetch_and(~bit, std::memory_order_relaxed);
  }
}

// Precondition: busy. Not if it has no handle, is on a mount that cannot be asked, or has no name
// left. That is taken to be for good: such an inode is not asked about again.
bool InodeTable::can_be_reopened(Inode& inode) noexcept {
  const BorrowedFd fd(inode.fd.load(std::memory_order_acquire));
  if (inode.handle_bytes == 0) {
    auto handle = FileHandle::of(fd);
    if (!handle || !source_.mounts().knows(handle->mount_id)) return false;
    save_handle(inode, *handle);
  }
  // Others wait for this slot meanwhile, so a source on the network must not be asked.
  struct statx st;
  return ::statx(fd.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_NLINK, &st) == 0 &&
         st.stx_nlink != 0;
}

bool InodeTable::give_up_descriptor(std::uint32_t slot) noexcept {
  Inode& inode = slots_.at(slot);
  if (inode.recently_used.exchange(0, std::memory_order_relaxed) != 0) return false;
  if (!slots_.try_busy(inode)) return false;
  Remains remains(*this);
  if (inode.fd.load(std::memory_order_acquire) >= 0) {
    if (can_be_reopened(inode)) {
      remains.fd.reset(inode.fd.exchange(-1));
      // The backing id holds the same open file; in use it stays, and with it the kernel's.
      if (inode.backing_users == 0) remains.backing_id = std::exchange(inode.backing_id, 0);
    }
    set_evictable(inode, false);
  }
  // Closed only after others may go on: the last reference to a removed file frees its blocks.
  slots_.end_busy(inode);
  if (!remains.fd.valid()) return false;
  budget_.remove();
  evictions_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

InodeTable::Removal::Removal(InodeTable& table) noexcept
    : table_(table), must_look_(table.evicting_.load()) {
  if (must_look_) return;
  // Either the one who wants to give up the first descriptor sees this count, or we see its flag.
  table_.blind_removals_.fetch_add(1);
  must_look_ = table_.evicting_.load();
  if (must_look_) table_.blind_removals_.fetch_sub(1);
}

InodeTable::Removal::~Removal() {
  if (!must_look_) table_.blind_removals_.fetch_sub(1);
}

bool InodeTable::may_give_up() noexcept {
  if (settled_.load(std::memory_order_acquire)) return true;
  evicting_.store(true);
  if (blind_removals_.load() != 0) return false;
  settled_.store(true);
  return true;
}

// Gives up some descriptors, if it can; how many. Goes twice around at most: the first time takes
// second chances away.
std::size_t InodeTable::sweep() noexcept {
  if (!may_give_up()) return 0;
  std::size_t given_up = 0;
  const std::uint32_t words = slots_.high_water() / kBitsPerWord + 1;
  for (std::uint32_t i = 0; i < 2 * words + 1 && given_up < kSweepBatch; ++i) {
    const std::uint32_t word = clock_hand_.fetch_add(1, std::memory_order_relaxed) % words;
    const std::uint32_t first = word * kBitsPerWord;
    std::uint64_t bits = word_of(evictable_, first).load(std::memory_order_relaxed);
    for (; bits != 0; bits &= bits - 1) {
      const auto slot = first + static_cast<std::uint32_t>(std::countr_zero(bits));
      if (give_up_descriptor(slot)) ++given_up;
    }
  }
  return given_up;
}

bool InodeTable::relieve() noexcept { return sweep() > 0; }

// ---- handles for who comes after all are gone ---------------------------------------------------

void InodeTable::set_unsaved(std::uint32_t slot) noexcept {
  word_of(unsaved_, slot).fetch_or(std::uint64_t{1} << (slot % kBitsPerWord));
  if (!any_unsaved_.load(std::memory_order_relaxed)) any_unsaved_.store(true);
}

void InodeTable::save_handles() noexcept {
  if (!any_unsaved_.exchange(false)) return;
  const std::uint32_t end = slots_.high_water();
  for (std::uint32_t first = 0; first < end; first += kBitsPerWord) {
    std::atomic<std::uint64_t>& word = word_of(unsaved_, first);
    if (word.load(std::memory_order_relaxed) == 0) continue;
    for (std::uint64_t bits = word.exchange(0); bits != 0; bits &= bits - 1) {
      save_handle_of(first + static_cast<std::uint32_t>(std::countr_zero(bits)));
    }
  }
}

// While it is pinned its descriptor stays, and so nobody else looks at the handle.
void InodeTable::save_handle_of(std::uint32_t slot) noexcept {
  const InodeRef inode(this, slots_.pin(slots_.number_of(slots_.at(slot), slot)));
  if (!inode || !inode.fd().valid() || inode->handle_bytes != 0) return;
  const auto handle = FileHandle::of(inode.fd());
  if (handle && source_.mounts().knows(handle->mount_id)) save_handle(*inode, *handle);
}

std::uint64_t InodeTable::unsaved() const noexcept {
  std::uint64_t count = 0;
  const std::uint32_t end = slots_.high_water();
  for (std::uint32_t first = 0; first < end; first += kBitsPerWord) {
    count += static_cast<std::uint64_t>(std::popcount(word_of(unsaved_, first).load()));
  }
  return count;
}

std::size_t InodeTable::memory_bytes() const noexcept {
  std::size_t bytes = slots_.touched_bytes() + slots_.high_water() / 8;
  for (const Shard& shard : shards_) {
    auto& mutable_shard = const_cast<Shard&>(shard);
    MutexLock lock(mutable_shard.mutex);
    bytes += mutable_shard.buckets.capacity() * sizeof(std::uint32_t);
  }
  return bytes;
}

}  // namespace passthroughfs
