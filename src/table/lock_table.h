// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"
#include "base/result.h"
#include "source/source_tree.h"
#include "table/handle_table.h"
#include "table/lock_owners.h"
#include "wire/abi.h"
#include "wire/reply.h"

namespace passthroughfs {

// One lock request, as the kernel sends it.
struct LockClaim {
  NodeId node = 0;
  std::uint64_t fh = 0;
  std::uint64_t owner = 0;  // the kernel's name for the process (POSIX) or open file (OFD, flock)
  wire::FileLock lock{};    // end is inclusive; type F_RDLCK, F_WRLCK, F_UNLCK; the caller's pid
  bool flock = false;
};

// File locks, held on the source so that those who work there directly see them too.
//
// POSIX locks: each owner has, per inode, a descriptor of its own whose open file description holds
// its locks (F_OFD_SETLK), so owners exclude each other as processes do. flock: on the handle's
// descriptor, which is the client's open file description one to one.
//
// A claim that has to wait is parked here with its reply and occupies no thread. It is tried again
// whenever a lock of that inode changes through the mount, and by poll() for locks that somebody
// holds on the source. POSIX waits that would form a circle fail with EDEADLK.
//
// keep() makes it outlive its process: owners then have records (LockOwners) in memory that a
// successor inherits with the descriptors, and recover() there finds all locks as they were. flocks
// need nothing for that. Claims that wait are not kept, for the kernel sends them again.
//
// Thread-safe. The mutex of a stripe of nodes is held over the (non-blocking) lock calls, that of
// the wait graph inside it; answers are sent after both are released.
class LockTable {
 public:
  LockTable() = default;
  ~LockTable();

  // Before the first lock. Room for so many owners (address space only), and beyond that ENOLCK, so
  // that nobody holds a lock that would be lost: each owner has a descriptor, so that as many as
  // there can be descriptors are never too few. Errors: those of Regions::make.
  Result<void> keep(std::uint32_t capacity, Regions& regions);
  // For a process that takes over from one that has died, before any other thread exists: owners
  // that hold locks are there again. Locks on descriptors that no record tells of, and for which
  // therefore a request will come again, are in the way until the caller has closed those. For
  // `is_open_on` see LockOwners::recover(). EUCLEAN: the memory is not what was left in it.
  // std::bad_alloc.
  Result<void> recover(const LockOwners::IsOpenOn& is_open_on);
  // EUCLEAN, see recover(): nothing was changed.
  [[nodiscard]] Result<void> check() const noexcept {
    return kept_ ? kept_->check() : Result<void>(ok());
  }
  // See InodeTable::forget_descriptors().
  void forget_descriptors() noexcept {
    if (kept_) kept_->forget_descriptors();
  }
  // After recover(), with the open files there again: takes the locks again that were held through
  // the descriptors that were forgotten. Who has lost some. std::bad_alloc.
  std::vector<LockOwners::Origin> take_again(const SourceTree& source, HandleTable& handles);
  // The descriptors that records tell of, before recover() as well as after it.
  template <typename Visit>
  void for_each_descriptor(Visit&& visit) const {
    if (kept_) kept_->for_each_descriptor(visit);
  }

  // GETLK: the first conflicting lock, or type F_UNLCK.
  Result<wire::FileLock> test(const LockClaim& claim, const HandleRef& handle);

  // SETLK. EAGAIN: somebody else has it. EBADF, EINVAL, ENOLCK from the source; ENOLCK
  // also when there are too many owners, see keep().
  Result<void> set(const LockClaim& claim, const HandleRef& handle, const SourceTree& source);

  // SETLKW: answers now or later. `interrupted` says whether INTERRUPT for this request came before
  // it was parked.
  void set_or_wait(const LockClaim& claim, HandleRef handle, const SourceTree& source,
                   wire::Reply reply, const std::function<bool()>& interrupted);

  // INTERRUPT: ends the wait of that request with EINTR. False: it does not wait here.
  bool interrupt(std::uint64_t unique);

  // FLUSH: the owner has closed a descriptor of the file and loses its POSIX locks.
  void drop_owner(NodeId id, std::uint64_t owner);
  // RELEASE: locks that were taken through this handle end with it.
  void drop_handle(NodeId id, std::uint64_t fh);

  // Tries every parked claim again. Called every few milliseconds while waiting() is not 0.
  void poll();
  [[nodiscard]] std::uint64_t waiting() const noexcept {
    return waiting_.load(std::memory_order_relaxed);
  }

  // The mount is gone: forgets parked claims without an answer.
  void abandon();

  // What has been done so far. Both grow with the number of waiters, not with its square.
  struct Work {
    std::uint64_t lock_calls;  // of the source
    std::uint64_t steps;       // owners and waits looked at to see who waits for whom
  };
  [[nodiscard]] Work work() const noexcept {
    return {lock_calls_.load(std::memory_order_relaxed), steps_.load(std::memory_order_relaxed)};
  }

 private:
  static constexpr std::size_t kStripes = 64;

  struct Owner {
    LockDescriptor fd;
    std::uint64_t fh = 0;
    unsigned waiting = 0;
    std::vector<LockRange> ranges;  // what fd holds
  };
  struct Waiter {
    LockClaim claim;
    HandleRef handle;
    wire::Reply reply;
    std::uint64_t unique;
    bool blocked_here;  // by an owner of this table, so that asking the source is no use
  };
  struct Node {
    std::map<std::uint64_t, Owner> owners;
    std::set<std::uint64_t> holders;  // owners with ranges
    std::list<Waiter> waiters;        // in the order of arrival
    // Some owners share a description, so that their ranges are not all that there is to know.
    bool inexact = false;
  };
  struct Stripe {
    Mutex mutex;
    std::unordered_map<NodeId, Node> nodes PFS_GUARDED_BY(mutex);
  };
  struct Answer {
    wire::Reply reply;
    int error;
  };

  Stripe& stripe_of(NodeId node) noexcept { return stripes_[(node * 0x9e3779b97f4a7c15ULL) >> 58]; }
  Node& node_of(Stripe& stripe, NodeId id) PFS_REQUIRES(stripe.mutex);
  using OwnerAt = std::map<std::uint64_t, Owner>::iterator;
  Result<OwnerAt> add_owner(Node& node, const LockClaim& claim, const HandleRef& handle,
                            const SourceTree& source);
  Result<void> park(Node& node, const LockClaim& claim, HandleRef& handle, const SourceTree& source,
                    wire::Reply& reply, std::uint64_t unique) PFS_EXCLUDES(graph_mutex_);
  Result<void> try_flock(const LockClaim& claim, const HandleRef& handle) noexcept;
  Result<void> try_posix(Node& node, const LockClaim& claim, const HandleRef& handle,
                         const SourceTree* source);
  void adopt(LockOwners::Found found);
  static void note_range(Owner& owner, const wire::FileLock& lock);
  static void settle_owner(Node& node, OwnerAt owner);
  std::vector<std::uint64_t> blockers(const Node& node, const LockClaim& claim);
  bool would_deadlock(std::uint64_t owner, const std::vector<std::uint64_t>& blocked_by)
      PFS_REQUIRES(graph_mutex_);
  enum class Whom { affected, all, unexplained };
  void retry(Node& node, Whom whom, const LockClaim* changed, std::vector<Answer>& answers);
  bool retry_once(Node& node, Whom whom, const LockClaim* changed, std::vector<Answer>& answers);
  void unpark(Node& node, const Waiter& waiter) PFS_EXCLUDES(graph_mutex_);
  void erase_if_idle(Stripe& stripe, NodeId id) PFS_REQUIRES(stripe.mutex);
  static void send(std::vector<Answer>& answers);

  std::unique_ptr<LockOwners> kept_;  // outlives the owners in stripes_; nullptr: they are not kept
  std::array<Stripe, kStripes> stripes_;
  std::atomic<std::uint64_t> waiting_{0};
  std::atomic<std::uint64_t> nodes_{0};  // with any lock or waiter; 0 lets closes skip all of this

  Mutex graph_mutex_;
  struct Wait {
    NodeId node;
    std::uint64_t owner;
    std::vector<std::uint64_t> blocked_by;  // owners; empty: only by somebody on the source
  };
  std::unordered_map<std::uint64_t, Wait> waits_ PFS_GUARDED_BY(graph_mutex_);  // by unique
  // The POSIX waits of an owner: one for each of its threads.
  std::unordered_multimap<std::uint64_t, std::uint64_t> waits_of_ PFS_GUARDED_BY(graph_mutex_);

  std::atomic<std::uint64_t> lock_calls_{0};
  std::atomic<std::uint64_t> steps_{0};
};

}  // namespace passthroughfs
