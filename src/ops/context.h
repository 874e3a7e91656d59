// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <utility>

#include "ops/mount_state.h"
#include "source/credentials.h"
#include "source/sys.h"
#include "table/ledger.h"
#include "wire/requests.h"

namespace passthroughfs {

// What an operation tells and asks the thread that serves it.
class ServingThread {
 public:
  // This thread is about to wait, so that another one has to serve meanwhile. False: it must not
  // wait; the operation gives up what it has done so far, and passes its reply to move_elsewhere().
  [[nodiscard]] virtual bool begin_blocking() noexcept = 0;
  virtual void end_blocking() noexcept = 0;
  // The request is served again from its beginning, by a thread that may wait.
  virtual void move_elsewhere(wire::Reply reply) noexcept = 0;
  // Whether the client has interrupted the request that is being served.
  [[nodiscard]] virtual bool interrupted() const noexcept = 0;

 protected:
  ~ServingThread() = default;
};

// Of a request that a process had begun to serve before it died. It may have been carried out, in
// part or as a whole, but nobody has had the answer: an operation that must not run twice looks at
// the source to see whether it has.
struct Repeat {
  bool again = false;
  std::int64_t began = 0;  // when it was first begun, nanoseconds of CLOCK_REALTIME_COARSE
  InodeKey subject{};      // what note_subject() was told then

  // Whether something that has the name now was made by the request: by its birth time, and where
  // the source has none, because the kernel asks to make only what it does not know to be there.
  [[nodiscard]] bool has_made(const struct statx& st) const noexcept {
    if (!again) return false;
    if ((st.stx_mask & STATX_BTIME) == 0) return true;
    return st.stx_btime.tv_sec * std::int64_t{1'000'000'000} + st.stx_btime.tv_nsec >= began;
  }
  // Whether the request may have changed attributes of the inode.
  [[nodiscard]] bool may_have_changed(const struct statx& st) const noexcept {
    return again &&
           st.stx_ctime.tv_sec * std::int64_t{1'000'000'000} + st.stx_ctime.tv_nsec >= began;
  }
};

// What an operation works with: one request on one thread.
class OpContext {
 public:
  OpContext(MountState& state_, const wire::Request& request_, const wire::DecodeOptions& decode_,
            MutableByteSpan buffer_, ServingThread& thread, const Repeat& repeat_ = {}) noexcept
      : state(state_),
        request(request_),
        decode(decode_),
        buffer(buffer_),
        repeat(repeat_),
        thread_(thread) {
    caller.uid = request.header.uid;
    caller.gid = request.header.gid;
    caller.pid = static_cast<pid_t>(request.header.pid);
  }
  OpContext(const OpContext&) = delete;
  OpContext& operator=(const OpContext&) = delete;

  [[nodiscard]] NodeId node_id() const noexcept { return request.header.nodeid; }
  // The node that the request is about. Its descriptor is restored if need be, which needs the
  // daemon's own identity: call it before acting as the caller.
  [[nodiscard]] Result<InodeRef> node() const noexcept { return state.inodes->get(node_id()); }

  // Makes the groups that a create request carries part of the caller: the directory's, if the
  // caller is in it. EINVAL: malformed.
  [[nodiscard]] Result<void> take_groups() noexcept {
    const wire::SupplementaryGroups groups = TRY(wire::decode_supplementary_groups(request));
    const std::size_t count = std::min(groups.size(), groups_.size());
    for (std::size_t i = 0; i < count; ++i) groups_[i] = groups[i];
    caller.groups = std::span<const std::uint32_t>(groups_.data(), count);
    return ok();
  }

  [[nodiscard]] bool interrupted() const noexcept { return thread_.interrupted(); }

  MountState& state;
  const wire::Request& request;
  const wire::DecodeOptions& decode;
  // Room for the answer's data; answers may point into it until they are sent.
  const MutableByteSpan buffer;
  const Repeat repeat;
  Caller caller;

  // Before the call: what tells afterwards whether it was made. A successor finds it in `repeat`.
  void note_subject(const struct statx& st) noexcept {
    Ledger* const ledger = ledger_in_hand().ledger;
    if (ledger == nullptr) return;
    ledger->subject_device = device_number(st.stx_dev_major, st.stx_dev_minor);
    ledger->subject_ino = st.stx_ino;
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }

  // What this request has told the record of changes, by Effect (op_table.h). Rows of the table
  // that change something must tell it; see announce.h.
  std::uint8_t told = 0;

  // For the length of a call that may wait long (fsync, a copy, a read from a disk).
  class Blocking {
   public:
    explicit Blocking(ServingThread& thread) noexcept : thread_(&thread) {}
    Blocking(Blocking&& other) noexcept : thread_(std::exchange(other.thread_, nullptr)) {}
    Blocking& operator=(Blocking&&) = delete;
    ~Blocking() {
      if (thread_ != nullptr) thread_->end_blocking();
    }

   private:
    ServingThread* thread_;
  };
  // Says that this thread is about to wait. On error it must not, and the operation returns the
  // error, whichever it is: it will be called again elsewhere. So this comes before anything that
  // could not be done twice.
  [[nodiscard]] Result<Blocking> may_wait() noexcept {
    if (thread_.begin_blocking()) return Blocking(thread_);
    moving_ = true;
    return Err(EAGAIN);
  }
  // Whether the operation has been told so.
  [[nodiscard]] bool moving() const noexcept { return moving_; }
  void move_elsewhere(wire::Reply reply) noexcept { thread_.move_elsewhere(std::move(reply)); }

 private:
  ServingThread& thread_;
  bool moving_ = false;
  std::array<std::uint32_t, 4> groups_{};  // the kernel sends one at most
};

// Runs an open-like call again after making room when descriptors have run out. Other threads may
// take what was given up, so it is tried some times.
template <typename Call>
auto with_descriptors(MountState& state, Call&& call) -> decltype(call()) {
  constexpr int kTries = 8;
  auto result = call();
  for (int tries = 1;
       tries < kTries && !result.has_value() &&
       (result.error() == EMFILE || result.error() == ENFILE) && state.inodes->relieve();
       ++tries) {
    result = call();
  }
  return result;
}

// The same for a descriptor that a program keeps open for as long as it likes. Such ones leave the
// last few alone, which everything else needs for a moment: EMFILE. (The lowest free number is the
// one that is taken, so a high one says that there are no others.)
template <typename Call>
Result<UniqueFd> with_kept_descriptor(MountState& state, Call&& call) {
  constexpr std::uint64_t kLeftAlone = 8;
  constexpr int kTries = 8;
  for (int tries = 0;; ++tries) {
    Result<UniqueFd> result = with_descriptors(state, call);
    if (!result || static_cast<std::uint64_t>(result->get()) + kLeftAlone < state.budget.limit()) {
      return result;
    }
    if (tries == kTries || !state.inodes->relieve()) return Err(EMFILE);
  }
}

// Runs a call that changes content (write, truncate, fallocate) as the caller, so that set-id bits
// and capabilities on the file go exactly as they would natively. `fd` is the file. `kill_suidgid`:
// the kernel says that the caller lacks CAP_FSETID, which matters for root.
template <typename Call>
auto as_modifier(const Caller& caller, BorrowedFd fd, bool kill_suidgid, Call&& call)
    -> decltype(call()) {
  if (!impersonation_enabled()) {
    // Only those use such a mount who have all its rights, or it has none of its own.
    const WithoutFsetid without(kill_suidgid || caller.uid != 0);
    return call();
  }
  if (caller.uid == 0) {
    set_thread_reserves(true);  // a part may be done: there is no asking again
    const WithoutFsetid without(kill_suidgid);
    return as_caller(caller, std::forward<Call>(call));
  }
  // Set-group-ID without group execution goes only if the caller is not in the group, so there the
  // groups decide.
  auto st = sys::stat_at(fd, "", STATX_MODE);
  if (st && (st->stx_mode & (S_ISGID | S_IXGRP)) == S_ISGID) {
    return as_caller_with_groups(caller, std::forward<Call>(call));
  }
  return as_caller(caller, std::forward<Call>(call));
}

}  // namespace passthroughfs
