// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"
#include "base/regions.h"
#include "source/file_handle.h"
#include "source/source_tree.h"
#include "table/fd_budget.h"
#include "table/slot_table.h"

namespace passthroughfs {

using NodeId = std::uint64_t;

// What identifies an inode of the source while a descriptor pins it.
struct InodeKey {
  std::uint64_t device;
  std::uint64_t ino;
};

// One inode of the source that the kernel (or an open handle) knows. Two cache lines; lives in the
// shared region, so it holds no pointers.
struct alignas(64) Inode : SlotHead {
  std::atomic<std::int32_t> fd;  // O_PATH; -1: only the file handle is held
  InodeKey key;
  std::uint64_t nlookup;                    // guarded by the shard's mutex
  std::uint32_t holds;                      // open handles; guarded by the shard's mutex
  std::uint16_t type;                       // S_IFMT bits
  std::uint8_t unhashed;                    // guarded by the shard's mutex
  std::atomic<std::uint8_t> recently_used;  // second chance of the eviction clock
  std::atomic<std::uint64_t>
      cached_version;           // of the content that the kernel's pages show; 0: none
  std::int32_t backing_id;      // kernel passthrough: one per inode, 0: none
  std::uint32_t backing_users;  // opens that use it (ops/backing.h)
  // The file handle, saved before the descriptor is given up.
  std::int32_t handle_mount;
  std::int32_t handle_type;
  std::uint8_t handle_bytes;  // 0: not saved. Stored last
  unsigned char handle[FileHandle::kMaxBytes];
  std::atomic<std::uint8_t> maybe_mapped;     // for writing, after the last close (ops/mapped.h)
  std::atomic<std::uint8_t> direct_appends;   // being written now (ops/data.cc)
  std::atomic<std::uint8_t> vain_waits;       // of direct appends for their turn, in a row
  std::uint32_t daemon_opens;                 // opens whose reads and writes come to the daemon
  std::atomic<std::uint32_t> mappable_opens;  // passthrough opens for reading and writing
  std::atomic<std::uint32_t> told_place;      // of a directory; see InodeTable::is_told_at()
};
static_assert(sizeof(Inode) == 128);

class InodeTable;

// A pinned inode whose descriptor is there (but see InodeTable::pin); what an operation works with.
// Move-only.
class InodeRef {
 public:
  InodeRef() noexcept = default;
  InodeRef(InodeRef&& other) noexcept
      : table_(other.table_), inode_(std::exchange(other.inode_, nullptr)) {}
  InodeRef& operator=(InodeRef&& other) noexcept;
  InodeRef(const InodeRef&) = delete;
  InodeRef& operator=(const InodeRef&) = delete;
  ~InodeRef() { reset(); }

  [[nodiscard]] explicit operator bool() const noexcept { return inode_ != nullptr; }
  // O_PATH, valid as long as this reference.
  [[nodiscard]] BorrowedFd fd() const noexcept {
    return BorrowedFd(inode_->fd.load(std::memory_order_acquire));
  }
  [[nodiscard]] Inode& operator*() const noexcept { return *inode_; }
  [[nodiscard]] Inode* operator->() const noexcept { return inode_; }
  [[nodiscard]] NodeId id() const noexcept;
  void reset() noexcept;

 private:
  friend class InodeTable;
  InodeRef(InodeTable* table, Inode* inode) noexcept : table_(table), inode_(inode) {}

  InodeTable* table_ = nullptr;
  Inode* inode_ = nullptr;
};

// The inodes that the kernel knows, by node number and by identity. Node numbers are never reused.
// Lookup counts are exact: they pass to the kernel in lookup() and come back in forget().
//
// Descriptors stay within the FdBudget: the least recently used give way to file handles where the
// source has them. Thread-safe. Locks: one mutex per shard of the index, held for an insert or a
// count and never over a blocking call; one of a few for restoring a descriptor.
class InodeTable {
 public:
  static constexpr NodeId kRoot = 1;

  // Room for `capacity` inodes (address space only). Errors: those of Regions::make. EUCLEAN: a
  // program before this one has left something else.
  static Result<std::unique_ptr<InodeTable>> create(SourceTree& source, FdBudget& budget,
                                                    std::uint32_t capacity, Regions& regions);
  static Result<std::unique_ptr<InodeTable>> create(SourceTree& source, FdBudget& budget,
                                                    std::uint32_t capacity) {
    Regions regions;
    return create(source, budget, capacity, regions);
  }
  ~InodeTable();

  // The inode with this number, its descriptor restored if it had been given up. ESTALE: no such
  // number (or the file behind it is gone). Needs the daemon's own identity. ENFILE, EMFILE: out
  // of descriptors.
  [[nodiscard]] Result<InodeRef> get(NodeId id) noexcept;

  // The same without asking for the descriptor, for what works on the record alone: fd() may be
  // invalid. ESTALE: no such number.
  [[nodiscard]] Result<InodeRef> pin(NodeId id) noexcept;

  // Finds or adds the inode that `fd` (O_PATH) refers to and counts one lookup for the kernel.
  // `fd` is kept if the inode is new or had lost its own. ENFILE, for new inodes only: the budget
  // is used up and nothing can be given up, or the table is full.
  [[nodiscard]] Result<InodeRef> lookup(UniqueFd fd, InodeKey key, std::uint16_t type) noexcept;

  // Takes back what the kernel returns, or what could not be handed over. More than was given is a
  // broken peer: the count stops at 0 and false is returned.
  bool forget(NodeId id, std::uint64_t count) noexcept;

  // The pinned inode with this identity, if known. No count changes. Its descriptor is restored.
  // ENOENT: unknown. ESTALE: the one that had this identity is gone, another file may have it now.
  [[nodiscard]] Result<InodeRef> find(InodeKey key) noexcept;

  // The number of the inode that is known by this identity, or was when its descriptor was given
  // up; 0: none.
  [[nodiscard]] NodeId known_as(InodeKey key) noexcept;
  // Whether the kernel has lookups of it to give back, or is about to be told of one.
  [[nodiscard]] bool kernel_knows(NodeId id) noexcept;
  // Where the kernel last saw a directory: a hash of its parent's number and its name.
  [[nodiscard]] static std::uint32_t place_of(NodeId parent, std::string_view name) noexcept;
  // Whether the kernel was last told of this directory at that place.
  [[nodiscard]] bool is_told_at(InodeKey key, std::uint32_t place) noexcept;
  // Of everything that lives now; no lock is held over `visit`.
  template <typename Visit>
  void for_each_id(Visit&& visit) const {
    for (auto slot = static_cast<std::uint32_t>(kRoot); slot < slots_.high_water(); ++slot) {
      const Inode& inode = slots_.at(slot);
      if (slots_.is_live(inode)) visit(slots_.number_of(inode, slot));
    }
  }

  // Keep an inode for an open handle, beyond the kernel's count.
  void hold(const InodeRef& inode) noexcept;
  void drop_hold(std::uint32_t slot) noexcept;
  [[nodiscard]] std::uint32_t slot_of(const InodeRef& inode) const noexcept {
    return slots_.slot_of(*inode);
  }
  [[nodiscard]] NodeId id_of(const Inode& inode) const noexcept {
    return slots_.number_of(inode, slots_.slot_of(inode));
  }

  // Gives up some descriptors, as when EMFILE shows that others use more than their share. False:
  // nothing could be given up.
  bool relieve() noexcept;

  // The removal of a name, from before the call until after it: an inode whose last name goes away
  // cannot be opened by its file handle any more. While no descriptor was ever given up there is
  // nothing to do, and this sees to it that the first one is not given up meanwhile. Afterwards
  // must_look() says that the inode has to be found and kept pinned over the call; without a name
  // it is not given up again. Thread-safe; create it before looking anything up.
  class Removal {
   public:
    explicit Removal(InodeTable& table) noexcept;
    ~Removal();
    Removal(const Removal&) = delete;
    Removal& operator=(const Removal&) = delete;
    [[nodiscard]] bool must_look() const noexcept { return must_look_; }

   private:
    InodeTable& table_;
    bool must_look_;
  };
  // True from shortly before the first descriptor is given up. By itself no answer for a removal,
  // which may overlap with that moment.
  [[nodiscard]] bool has_evicted() const noexcept { return evicting_.load(); }

  // Asked for a descriptor of an inode that has no name any more when its file handle is stale.
  // Returns an owned O_PATH descriptor or an error. Called with a restore lock held: it must not
  // call get() or find(). Set once before serving.
  using OrphanFinder = Result<UniqueFd> (*)(void* context, NodeId id);
  void set_orphan_finder(OrphanFinder finder, void* context) noexcept {
    orphan_finder_ = finder;
    orphan_context_ = context;
  }

  // Told of the backing id of an inode that ends or gives up its descriptor. Set once before
  // serving.
  using BackingCloser = void (*)(void* context, std::int32_t id);
  void set_backing_closer(BackingCloser closer, void* context) noexcept {
    backing_closer_ = closer;
    backing_context_ = context;
  }

  // The number of the inode that lives in a slot; 0: there is no such slot.
  [[nodiscard]] NodeId id_of_slot(std::uint32_t slot) const noexcept {
    if (slot >= slots_.high_water()) return 0;
    return slots_.number_of(slots_.at(slot), slot);
  }

  // --- Taking over from a process that has died with the tables mapped (design: guard/), in this
  // order, before any other thread exists: begin_recovery(); the counts that ledgers know better;
  // the handle table's recover(), which holds inodes; recover(). It leaves the inodes that the
  // kernel or a handle knows; descriptors of others are the caller's to close (for_each_descriptor
  // tells which are kept). EUCLEAN: the memory is not what this table left in it. An inode whose
  // record is damaged, so that its descriptor is another file's, is gone (ESTALE).
  // `mapped`: gets the inodes that may be mapped for writing, each held once more.
  Result<void> begin_recovery(std::vector<NodeId>* mapped);
  void set_count_in_recovery(std::uint32_t slot, std::uint64_t count) noexcept;
  // nullptr: no such inode lives there.
  Inode* hold_in_recovery(std::uint32_t slot, NodeId id) noexcept;
  Result<void> recover();
  // Before all of that, in a process that has the memory and none of the descriptors, because all
  // that had them are gone: makes every record one whose descriptor was given up. Those without a
  // saved handle stay, and answer ESTALE. May be repeated. EUCLEAN: the root is another directory.
  Result<void> forget_descriptors();
  // Before begin_recovery(), if that was ever done to these tables: descriptors are looked at when
  // they are opened again, and records without either are no damage.
  void was_forgotten() noexcept { was_forgotten_ = true; }
  // Such a record.
  [[nodiscard]] bool is_lost(std::uint32_t slot) const noexcept;
  // How many of them the kernel or a handle knows.
  [[nodiscard]] std::uint64_t count_lost() const noexcept;

  // So that little is lost then: notes which inodes have no saved handle, for save_handles(). Call
  // it before serving, and before recover().
  void keep_handles() noexcept { keeps_handles_ = true; }
  // Saves what can be had of them. By one thread; the others are not held up. A handle that could
  // not be had is not asked for again.
  void save_handles() noexcept;
  // How many are to be saved.
  [[nodiscard]] std::uint64_t unsaved() const noexcept;

  // Whether a descriptor is open on the file that the record tells of.
  [[nodiscard]] static bool is_open_on(int fd, const Inode& inode) noexcept;
  // The same for an inode that lives.
  [[nodiscard]] bool is_open_on(int fd, NodeId id) const noexcept;
  template <typename Visit>
  void for_each_descriptor(Visit&& visit) const {
    for (auto slot = static_cast<std::uint32_t>(kRoot); slot < slots_.high_water(); ++slot) {
      const Inode& inode = slots_.at(slot);
      const int fd = inode.fd.load(std::memory_order_relaxed);
      if (inode.key.ino != 0 && fd >= 0) visit(fd);
    }
  }

  [[nodiscard]] std::uint64_t known() const noexcept {
    return known_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t evictions() const noexcept { return evictions_.load(); }
  [[nodiscard]] std::uint64_t restores() const noexcept { return restores_.load(); }
  // Memory of the table and its index that has been touched.
  [[nodiscard]] std::size_t memory_bytes() const noexcept;

 private:
  static constexpr std::size_t kShards = 64;
  static constexpr std::size_t kRestoreLocks = 64;

  struct alignas(64) Shard {
    Mutex mutex;
    std::vector<std::uint32_t> buckets PFS_GUARDED_BY(mutex);  // slot numbers; chained by `next`
    std::size_t used PFS_GUARDED_BY(mutex) = 0;
  };

  friend class InodeRef;
  InodeTable(SourceTree& source, FdBudget& budget, Region region, Region evictable, Region unsaved);
  Result<void> add_root();

  static std::uint64_t hash(InodeKey key) noexcept;
  Shard& shard_of(InodeKey key) noexcept { return shards_[hash(key) % kShards]; }
  Inode* find_locked(Shard& shard, InodeKey key) noexcept PFS_REQUIRES(shard.mutex);
  void insert_locked(Shard& shard, Inode& inode) noexcept PFS_REQUIRES(shard.mutex);
  void grow_locked(Shard& shard) noexcept PFS_REQUIRES(shard.mutex);
  void remove_locked(Shard& shard, Inode& inode) noexcept PFS_REQUIRES(shard.mutex);
  // What an inode leaves behind; given up after the locks are released.
  struct Remains {
    explicit Remains(InodeTable& table_) noexcept : table(table_) {}
    ~Remains();
    Remains(const Remains&) = delete;
    Remains& operator=(const Remains&) = delete;

    InodeTable& table;
    UniqueFd fd;
    std::int32_t backing_id = 0;
  };
  void release_if_unused_locked(Shard& shard, Inode& inode, Remains& remains) noexcept
      PFS_REQUIRES(shard.mutex);
  void destroy_locked(Shard& shard, Inode& inode, Remains& remains) noexcept
      PFS_REQUIRES(shard.mutex);
  void unpin(Inode& inode) noexcept;
  Result<void> restore(Inode& inode) noexcept;
  bool same_file(const Inode& inode, BorrowedFd fd) noexcept;
  [[nodiscard]] bool is_whole(const Inode& inode) const noexcept;
  bool can_be_reopened(Inode& inode) noexcept;
  bool give_up_descriptor(std::uint32_t slot) noexcept;
  bool may_give_up() noexcept;
  std::size_t sweep() noexcept;
  // The word of a bit map that has the slot's bit.
  [[nodiscard]] static std::atomic<std::uint64_t>& word_of(const Region& bits,
                                                           std::uint32_t slot) noexcept;
  void set_unsaved(std::uint32_t slot) noexcept;
  void save_handle_of(std::uint32_t slot) noexcept;
  void set_evictable(const Inode& inode, bool evictable) noexcept;

  SourceTree& source_;
  FdBudget& budget_;
  SlotTable<Inode> slots_;
  std::array<Shard, kShards> shards_;
  std::array<Mutex, kRestoreLocks> restore_locks_;
  // A bit per slot: it has a descriptor that may perhaps be given up. Private to the process; can
  // be rebuilt. Changed only by who has the slot pinned, busy or owned.
  Region evictable_;
  std::atomic<std::uint32_t> clock_hand_{0};  // counts words of evictable_
  // A bit per slot, likewise: it is live, and its handle is to be saved. Set after the slot came to
  // live, so that who clears it finds either that inode or one whose bit will be set.
  Region unsaved_;
  std::atomic<bool> any_unsaved_{false};
  bool owned_ = true;  // the descriptors in the records: not another program's, before recover()
  bool keeps_handles_ = false;
  bool was_forgotten_ = false;
  // Before the first descriptor is given up: `evicting_` is raised, the removals that did not see
  // it run out, then `settled_` opens the way. All sequentially consistent.
  std::atomic<bool> evicting_{false};
  std::atomic<bool> settled_{false};
  std::atomic<std::uint32_t> blind_removals_{0};
  std::atomic<std::uint64_t> known_{0};
  std::atomic<std::uint64_t> evictions_{0};
  std::atomic<std::uint64_t> restores_{0};
  OrphanFinder orphan_finder_ = nullptr;
  void* orphan_context_ = nullptr;
  BackingCloser backing_closer_ = nullptr;
  void* backing_context_ = nullptr;
};

}  // namespace passthroughfs
