// SPDX-License-Identifier: Apache-2.0
#include "table/lock_table.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <unordered_set>

namespace passthroughfs {
namespace {

struct flock to_native(const wire::FileLock& lock) noexcept {
  struct flock out {};
  out.l_type = static_cast<short>(lock.type);
  out.l_whence = SEEK_SET;
  out.l_start = static_cast<off_t>(lock.start);
  out.l_len = lock.end >= kLockToEnd ? 0 : static_cast<off_t>(lock.end - lock.start + 1);
  return out;
}

bool overlaps(std::uint64_t a_start, std::uint64_t a_end, const wire::FileLock& b) noexcept {
  return a_start <= b.end && b.start <= a_end;
}

// What fcntl says when somebody else holds the lock differs between systems; the kernel's client
// expects EAGAIN.
Result<void> lock_result(int returned) noexcept {
  if (returned == 0) return ok();
  if (errno == EACCES || errno == EWOULDBLOCK) return Err(EAGAIN);
  return Errno::last();
}

// One description for both kinds of lock, because read and write locks of one owner must not
// exclude each other. Where the daemon may not open for both, the client could not either; but
// append-only files, which the client may have had open before they became that, open only for
// appending.
Result<UniqueFd> open_for_locks(const SourceTree& source, const HandleRef& handle,
                                bool& inexact) noexcept {
  const int own = static_cast<int>(handle->flags) & O_ACCMODE;
  auto fd = source.reopen(handle.fd(), O_RDWR);
  if (!fd && fd.error() == EPERM) fd = source.reopen(handle.fd(), O_RDWR | O_APPEND);
  if (!fd) fd = source.reopen(handle.fd(), own);
  // Immutable by now, so it opens for writing for nobody: then the client's own description has to
  // do. Two processes that share it after a fork are taken for one there.
  if (!fd && fd.error() == EPERM) {
    fd = duplicate(handle.fd());
    inexact = true;
  }
  return fd;
}

}  // namespace

LockTable::~LockTable() { abandon(); }

Result<void> LockTable::keep(std::uint32_t capacity, Regions& regions) {
  kept_ = TRY(LockOwners::create(capacity, regions));
  return ok();
}

Result<void> LockTable::recover(const LockOwners::IsOpenOn& is_open_on) {
  if (!kept_) return ok();
  std::vector<LockOwners::Found> owners = TRY(kept_->recover(is_open_on));
  for (LockOwners::Found& found : owners) adopt(std::move(found));
  return ok();
}

void LockTable::adopt(LockOwners::Found found) {
  Stripe& stripe = stripe_of(found.origin.node);
  MutexLock lock(stripe.mutex);
  Node& node = node_of(stripe, found.origin.node);
  node.inexact = node.inexact || found.origin.inexact;
  node.holders.insert(found.origin.owner);
  Owner& owner = node.owners[found.origin.owner];
  owner.fd = std::move(found.descriptor);
  owner.fh = found.origin.fh;
  owner.ranges = std::move(found.ranges);
}

// A description that several owners would have to share is nobody's: the one who comes first would
// have it, and the others nothing.
std::vector<LockOwners::Origin> LockTable::take_again(const SourceTree& source,
                                                      HandleTable& handles) {
  std::vector<LockOwners::Origin> lost;
  if (!kept_) return lost;
  const auto open = [&](const LockOwners::Origin& origin) -> Result<UniqueFd> {
    if (handles.node_of(origin.fh) != origin.node) return Err(ENOENT);
    const HandleRef handle = TRY(handles.get(origin.fh, origin.node));
    if (!handle.fd().valid()) return Err(ESTALE);
    bool inexact = false;
    UniqueFd fd = TRY(open_for_locks(source, handle, inexact));
    if (inexact) return Err(EPERM);
    return fd;
  };
  for (LockOwners::Found& found : kept_->take_again(open, lost)) adopt(std::move(found));
  return lost;
}

LockTable::Node& LockTable::node_of(Stripe& stripe, NodeId id) {
  const auto [at, added] = stripe.nodes.try_emplace(id);
  if (added) nodes_.fetch_add(1, std::memory_order_relaxed);
  return at->second;
}

Result<LockTable::OwnerAt> LockTable::add_owner(Node& node, const LockClaim& claim,
                                                const HandleRef& handle, const SourceTree& source) {
  bool inexact = false;
  UniqueFd fd = TRY(open_for_locks(source, handle, inexact));
  node.inexact = node.inexact || inexact;
  Owner owner;
  owner.fd = kept_ ? TRY(kept_->add(std::move(fd),
                                    {claim.node, claim.owner, claim.fh, claim.lock.pid, inexact}))
                   : LockDescriptor(std::move(fd));
  return node.owners.emplace(claim.owner, std::move(owner)).first;
}

Result<void> LockTable::try_flock(const LockClaim& claim, const HandleRef& handle) noexcept {
  int operation = LOCK_UN;
  if (claim.lock.type == F_RDLCK) operation = LOCK_SH;
  if (claim.lock.type == F_WRLCK) operation = LOCK_EX;
  const Flocked before = handle->flocked.exchange(Flocked::changing);
  lock_calls_.fetch_add(1, std::memory_order_relaxed);
  const Result<void> done = lock_result(::flock(handle.fd().get(), operation | LOCK_NB));
  Flocked after = before;
  if (done) {
    after = operation == LOCK_UN   ? Flocked::no
            : operation == LOCK_SH ? Flocked::shared
                                   : Flocked::exclusive;
  } else if (done.error() == EAGAIN) {
    after = Flocked::no;  // what was to be converted is lost
  }
  handle->flocked.store(after);
  return done;
}

Result<void> LockTable::try_posix(Node& node, const LockClaim& claim, const HandleRef& handle,
                                  const SourceTree* source) {
  auto found = node.owners.find(claim.owner);
  if (found == node.owners.end()) {
    if (claim.lock.type == F_UNLCK) return ok();
    if (source == nullptr) return Err(EBADF);
    found = TRY(add_owner(node, claim, handle, *source));
  }
  Owner& owner = found->second;
  owner.fh = claim.fh;
  owner.fd.note_claim(claim.fh, claim.lock.pid);
  struct flock native = to_native(claim.lock);
  lock_calls_.fetch_add(1, std::memory_order_relaxed);
  auto done = lock_result(::fcntl(owner.fd.get(), F_OFD_SETLK, &native));
  if (done) note_range(owner, claim.lock);
  settle_owner(node, found);
  return done;
}

// After its ranges, or the number of its waits, may have changed.
void LockTable::settle_owner(Node& node, OwnerAt owner) {
  owner->second.fd.note_ranges(owner->second.ranges);
  if (!owner->second.ranges.empty()) {
    node.holders.insert(owner->first);
    return;
  }
  node.holders.erase(owner->first);
  if (owner->second.waiting == 0) node.owners.erase(owner);
}

// Keeps the list of ranges as POSIX defines it: a new lock replaces what it covers.
void LockTable::note_range(Owner& owner, const wire::FileLock& lock) {
  std::vector<LockRange> kept;
  kept.reserve(owner.ranges.size() + 2);
  for (const LockRange& range : owner.ranges) {
    if (!overlaps(range.start, range.end, lock)) {
      kept.push_back(range);
      continue;
    }
    if (range.start < lock.start) {
      kept.push_back({range.start, lock.start - 1, range.type, range.pid});
    }
    if (range.end > lock.end) kept.push_back({lock.end + 1, range.end, range.type, range.pid});
  }
  if (lock.type != F_UNLCK) kept.push_back({lock.start, lock.end, lock.type, lock.pid});
  owner.ranges.swap(kept);
}

std::vector<std::uint64_t> LockTable::blockers(const Node& node, const LockClaim& claim) {
  std::vector<std::uint64_t> out;
  for (const std::uint64_t id : node.holders) {
    if (id == claim.owner) continue;
    const std::vector<LockRange>& ranges = node.owners.find(id)->second.ranges;
    const bool conflict = std::any_of(ranges.begin(), ranges.end(), [&](const LockRange& range) {
      return overlaps(range.start, range.end, claim.lock) &&
             (range.type == F_WRLCK || claim.lock.type == F_WRLCK);
    });
    if (conflict) out.push_back(id);
  }
  steps_.fetch_add(node.holders.size(), std::memory_order_relaxed);
  return out;
}

// Whether one of those who block the owner waits, in the end, for the owner itself.
bool LockTable::would_deadlock(std::uint64_t owner, const std::vector<std::uint64_t>& blocked_by) {
  std::vector<std::uint64_t> open = blocked_by;
  std::unordered_set<std::uint64_t> seen;
  std::uint64_t steps = 0;
  bool circle = false;
  while (!open.empty() && !circle) {
    const std::uint64_t next = open.back();
    open.pop_back();
    ++steps;
    circle = next == owner;
    if (circle || !seen.insert(next).second) continue;
    const auto [first, last] = waits_of_.equal_range(next);
    for (auto of = first; of != last; ++of) {
      const Wait& wait = waits_.find(of->second)->second;
      open.insert(open.end(), wait.blocked_by.begin(), wait.blocked_by.end());
    }
  }
  steps_.fetch_add(steps, std::memory_order_relaxed);
  return circle;
}

Result<wire::FileLock> LockTable::test(const LockClaim& claim, const HandleRef& handle) {
  Stripe& stripe = stripe_of(claim.node);
  MutexLock lock(stripe.mutex);
  const auto node = stripe.nodes.find(claim.node);
  BorrowedFd fd = handle.fd();
  if (node != stripe.nodes.end()) {
    const auto own = node->second.owners.find(claim.owner);
    if (own != node->second.owners.end()) fd = own->second.fd.borrow();
  }
  struct flock native = to_native(claim.lock);
  if (::fcntl(fd.get(), F_OFD_GETLK, &native) < 0) return Errno::last();
  wire::FileLock out = claim.lock;
  out.type = static_cast<std::uint32_t>(native.l_type);
  if (native.l_type == F_UNLCK) return out;
  out.start = static_cast<std::uint64_t>(native.l_start);
  out.end = native.l_len == 0 ? kLockToEnd
                              : static_cast<std::uint64_t>(native.l_start + native.l_len - 1);
  // Locks of open file descriptions have no pid; ours are known by their ranges.
  out.pid = native.l_pid > 0 ? static_cast<std::uint32_t>(native.l_pid) : 0;
  if (native.l_pid <= 0 && node != stripe.nodes.end()) {
    for (const auto& [id, owner] : node->second.owners) {
      for (const LockRange& range : owner.ranges) {
        if (id != claim.owner && overlaps(range.start, range.end, out)) out.pid = range.pid;
      }
    }
  }
  return out;
}

Result<void> LockTable::set(const LockClaim& claim, const HandleRef& handle,
                            const SourceTree& source) {
  std::vector<Answer> answers;
  Result<void> done;
  {
    Stripe& stripe = stripe_of(claim.node);
    MutexLock lock(stripe.mutex);
    Node& node = node_of(stripe, claim.node);
    done = claim.flock ? try_flock(claim, handle) : try_posix(node, claim, handle, &source);
    // Unlocking and downgrading let others in; so does a failed flock conversion, which loses what
    // it had.
    retry(node, Whom::affected, &claim, answers);
    erase_if_idle(stripe, claim.node);
  }
  send(answers);
  return done;
}

void LockTable::set_or_wait(const LockClaim& claim, HandleRef handle, const SourceTree& source,
                            wire::Reply reply, const std::function<bool()>& interrupted) {
  const std::uint64_t unique = reply.unique() & ~wire::kUniqueResend;
  bool parked = false;
  std::vector<Answer> answers;
  {
    Stripe& stripe = stripe_of(claim.node);
    MutexLock lock(stripe.mutex);
    Node& node = node_of(stripe, claim.node);
    // A conversion that has to wait loses what was held, which lets others in.
    const bool converts = claim.flock && handle->flocked.load() != Flocked::no;
    auto done = claim.flock ? try_flock(claim, handle) : try_posix(node, claim, handle, &source);
    int error = done ? 0 : done.error().value();
    if (error == EAGAIN) {
      auto waits = park(node, claim, handle, source, reply, unique);
      parked = waits.has_value();
      if (!waits) error = waits.error().value();
    }
    // A reply that was parked, and so moved from, is no longer pending.
    // NOLINTNEXTLINE(bugprone-use-after-move,clang-analyzer-cplusplus.Move)
    if (reply.pending()) answers.push_back({std::move(reply), error});
    // Any other claim that waits has changed nothing.
    if (!parked || converts) retry(node, Whom::affected, &claim, answers);
    erase_if_idle(stripe, claim.node);
  }
  send(answers);
  if (parked && interrupted()) (void)interrupt(unique);
}

// Takes over the handle and the reply if the claim can wait. EDEADLK; the errors of add_owner().
Result<void> LockTable::park(Node& node, const LockClaim& claim, HandleRef& handle,
                             const SourceTree& source, wire::Reply& reply, std::uint64_t unique) {
  std::vector<std::uint64_t> blocked_by;
  if (!claim.flock) blocked_by = blockers(node, claim);
  const bool blocked_here = !blocked_by.empty();
  MutexLock graph(graph_mutex_);
  if (!claim.flock) {
    if (would_deadlock(claim.owner, blocked_by)) return Err(EDEADLK);
    // Its descriptor has to outlive a FLUSH of the same owner while it waits.
    auto own = node.owners.find(claim.owner);
    if (own == node.owners.end()) own = TRY(add_owner(node, claim, handle, source));
    ++own->second.waiting;
    waits_of_.emplace(claim.owner, unique);
  }
  waits_[unique] = Wait{claim.node, claim.flock ? 0 : claim.owner, std::move(blocked_by)};
  node.waiters.push_back(Waiter{claim, std::move(handle), std::move(reply), unique, blocked_here});
  waiting_.fetch_add(1, std::memory_order_relaxed);
  return ok();
}

// Tries parked claims again: those that a change of this claim's locks may matter to; all; or those
// that nobody here holds up, and of whose obstacle the table therefore does not hear.
void LockTable::retry(Node& node, Whom whom, const LockClaim* changed,
                      std::vector<Answer>& answers) {
  // What one of them is granted holds up others, or (a write lock made a read lock) lets them in.
  if (!node.waiters.empty() && retry_once(node, whom, changed, answers)) {
    while (retry_once(node, Whom::all, nullptr, answers)) {
    }
  }
}

// True: a POSIX claim was granted.
bool LockTable::retry_once(Node& node, Whom whom, const LockClaim* changed,
                           std::vector<Answer>& answers) {
  const auto matters = [&](const Waiter& waiter) {
    if (whom == Whom::all || node.inexact) return true;
    if (whom == Whom::unexplained) return !waiter.blocked_here;
    if (waiter.claim.flock || changed->flock) return waiter.claim.flock && changed->flock;
    return overlaps(changed->lock.start, changed->lock.end, waiter.claim.lock);
  };
  bool granted = false;
  for (auto at = node.waiters.begin(); at != node.waiters.end();) {
    Waiter& waiter = *at;
    if (!matters(waiter)) {
      ++at;
      continue;
    }
    if (!waiter.claim.flock) {
      auto blocked_by = blockers(node, waiter.claim);
      waiter.blocked_here = !blocked_by.empty();
      MutexLock graph(graph_mutex_);
      waits_[waiter.unique].blocked_by = std::move(blocked_by);
    }
    if (waiter.blocked_here && !node.inexact) {
      ++at;
      continue;
    }
    auto done = waiter.claim.flock ? try_flock(waiter.claim, waiter.handle)
                                   : try_posix(node, waiter.claim, waiter.handle, nullptr);
    if (!done && done.error() == EAGAIN) {
      ++at;
      continue;
    }
    granted = granted || (done && !waiter.claim.flock);
    unpark(node, waiter);
    answers.push_back({std::move(waiter.reply), done ? 0 : done.error().value()});
    at = node.waiters.erase(at);
  }
  return granted;
}

void LockTable::unpark(Node& node, const Waiter& waiter) {
  {
    MutexLock graph(graph_mutex_);
    waits_.erase(waiter.unique);
    const auto [first, last] = waits_of_.equal_range(waiter.claim.owner);
    const auto of =
        std::find_if(first, last, [&](const auto& entry) { return entry.second == waiter.unique; });
    if (of != last && !waiter.claim.flock) waits_of_.erase(of);
  }
  waiting_.fetch_sub(1, std::memory_order_relaxed);
  if (waiter.claim.flock) return;
  const auto own = node.owners.find(waiter.claim.owner);
  if (own == node.owners.end()) return;
  --own->second.waiting;
  settle_owner(node, own);
}

bool LockTable::interrupt(std::uint64_t unique) {
  NodeId id = 0;
  {
    MutexLock graph(graph_mutex_);
    const auto wait = waits_.find(unique);
    if (wait == waits_.end()) return false;
    id = wait->second.node;
  }
  std::vector<Answer> answers;
  {
    Stripe& stripe = stripe_of(id);
    MutexLock lock(stripe.mutex);
    const auto node = stripe.nodes.find(id);
    if (node == stripe.nodes.end()) return false;
    auto& waiters = node->second.waiters;
    const auto at = std::find_if(waiters.begin(), waiters.end(),
                                 [&](const Waiter& waiter) { return waiter.unique == unique; });
    if (at == waiters.end()) return false;
    unpark(node->second, *at);
    answers.push_back({std::move(at->reply), EINTR});
    waiters.erase(at);
    erase_if_idle(stripe, id);
  }
  send(answers);
  return true;
}

void LockTable::drop_owner(NodeId id, std::uint64_t owner) {
  if (nodes_.load(std::memory_order_acquire) == 0) return;
  std::vector<Answer> answers;
  {
    Stripe& stripe = stripe_of(id);
    MutexLock lock(stripe.mutex);
    const auto node = stripe.nodes.find(id);
    if (node == stripe.nodes.end()) return;
    const auto own = node->second.owners.find(owner);
    if (own == node->second.owners.end()) return;
    node->second.holders.erase(owner);
    if (own->second.waiting == 0) {
      node->second.owners.erase(own);  // closing its description drops all its locks
    } else {
      struct flock all {};
      all.l_type = F_UNLCK;
      all.l_whence = SEEK_SET;
      (void)::fcntl(own->second.fd.get(), F_OFD_SETLK, &all);
      own->second.ranges.clear();
      own->second.fd.note_ranges({});
    }
    retry(node->second, Whom::all, nullptr, answers);
    erase_if_idle(stripe, id);
  }
  send(answers);
}

void LockTable::drop_handle(NodeId id, std::uint64_t fh) {
  if (nodes_.load(std::memory_order_acquire) == 0) return;
  std::vector<Answer> answers;
  {
    Stripe& stripe = stripe_of(id);
    MutexLock lock(stripe.mutex);
    const auto node = stripe.nodes.find(id);
    if (node == stripe.nodes.end()) return;
    for (auto own = node->second.owners.begin(); own != node->second.owners.end();) {
      // Processes lost theirs at FLUSH; what is left belongs to the open file description itself,
      // for whose locks the kernel sends no unlock at its end.
      const bool gone = own->second.fh == fh && own->second.waiting == 0;
      if (gone) node->second.holders.erase(own->first);
      own = gone ? node->second.owners.erase(own) : std::next(own);
    }
    retry(node->second, Whom::all, nullptr, answers);
    erase_if_idle(stripe, id);
  }
  send(answers);
}

void LockTable::poll() {
  for (Stripe& stripe : stripes_) {
    std::vector<Answer> answers;
    {
      MutexLock lock(stripe.mutex);
      for (auto at = stripe.nodes.begin(); at != stripe.nodes.end();) {
        const NodeId id = at->first;
        Node& node = (at++)->second;
        retry(node, Whom::unexplained, nullptr, answers);
        erase_if_idle(stripe, id);
      }
    }
    send(answers);
  }
}

void LockTable::erase_if_idle(Stripe& stripe, NodeId id) {
  const auto node = stripe.nodes.find(id);
  if (node == stripe.nodes.end() || !node->second.owners.empty() || !node->second.waiters.empty()) {
    return;
  }
  stripe.nodes.erase(node);
  nodes_.fetch_sub(1, std::memory_order_relaxed);
}

void LockTable::send(std::vector<Answer>& answers) {
  for (Answer& answer : answers) {
    // A client that was killed while it waited has taken its request back; its locks go with it.
    if (answer.error == 0) {
      (void)answer.reply.ok();
    } else {
      (void)answer.reply.error(Errno(answer.error));
    }
  }
}

void LockTable::abandon() {
  for (Stripe& stripe : stripes_) {
    MutexLock lock(stripe.mutex);
    for (auto& [id, node] : stripe.nodes) {
      for (Waiter& waiter : node.waiters) waiter.reply.none();
    }
    stripe.nodes.clear();
  }
  nodes_.store(0);
  waiting_.store(0);
  MutexLock graph(graph_mutex_);
  waits_.clear();
  waits_of_.clear();
}

}  // namespace passthroughfs
