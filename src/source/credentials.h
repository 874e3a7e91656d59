// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"

namespace passthroughfs {

// Who asks, from the request's header, in the daemon's namespaces.
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;  // a thread id; 0 when not visible from the daemon's pid namespace
  // The groups that the request carries (FUSE_CREATE_SUPP_GROUP); lent by the request.
  std::span<const std::uint32_t> groups = {};
};

// Why this process cannot act as somebody else, for a message; nullptr if it can. That needs root
// with CAP_SETUID and CAP_SETGID, in a user namespace that lets it set groups, whose capabilities
// over files go when it takes another user id.
[[nodiscard]] const char* impersonation_obstacle() noexcept;
// Whether this process is root or has capabilities over files. Whoever has neither has no rights
// but a user's own, which he may share.
[[nodiscard]] bool has_rights_over_files() noexcept;

// Makes this thread one that acts as its callers: takes away its supplementary groups, which would
// otherwise come along. Changes no other thread. Without it (where it is not possible, see above)
// every call runs as the user who mounted. EPERM: not possible.
[[nodiscard]] Result<void> enable_impersonation() noexcept;
// Of this thread.
[[nodiscard]] bool impersonation_enabled() noexcept;

// Gives this thread a umask of its own (CLONE_FS) and sets it to 0. Call once per serving thread.
// Error: refused (a container's filter, no memory); the mask is then shared by all threads and has
// been left as it was, and this one must not serve creations.
[[nodiscard]] Result<void> own_umask() noexcept;
// The mask for the creations that follow on this thread; kept until the next call.
void set_thread_umask(mode_t mask) noexcept;

// Whether this thread may use what a file system keeps for root (reserved blocks, exemption from
// quota limits): CAP_SYS_RESOURCE, which a change of identity does not touch. Kept until the next
// call, like the umask; as_caller() and ActingAs set it.
void set_thread_reserves(bool allowed) noexcept;
[[nodiscard]] bool thread_has_reserves() noexcept;

// What /proc says about a caller: its file system ids, all groups, and the capabilities over files
// that it has in the daemon's user namespace.
struct CallerRights {
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
  std::vector<gid_t> groups;
  std::uint64_t file_capabilities = 0;

  // ESRCH: the process is gone or not visible.
  static Result<CallerRights> read(pid_t pid);
  // The same for who sent a request. ESRCH also when that process has other ids than the request:
  // then it asked in the name of another (a kernel service, a file system stacked on the mount), or
  // its number has passed to another process. Its rights are not the caller's.
  static Result<CallerRights> of(const Caller& caller);
};

// This thread's file system identity for a scope; always put back, on every way out.
//
// With a file system uid other than 0 the kernel drops the capabilities over files, CAP_FSETID
// among them, and we CAP_SYS_RESOURCE: set-id bits, quotas and reserved blocks then come out
// exactly as for the caller. A uid of 0 keeps them. Expects a thread without supplementary groups.
class ActingAs {
 public:
  ActingAs(uid_t uid, gid_t gid, std::span<const std::uint32_t> groups,
           std::uint64_t extra_capabilities = 0) noexcept;
  ~ActingAs();
  ActingAs(const ActingAs&) = delete;
  ActingAs& operator=(const ActingAs&) = delete;

  // Whether this thread has that identity now. If not (ids that do not exist here, such as -1),
  // nothing may be done in that name: setfsuid(2) itself reports no error and would leave us root.
  [[nodiscard]] bool ok() const noexcept { return ok_; }

 private:
  uid_t own_uid_ = 0;
  gid_t own_gid_ = 0;
  bool ok_ = true;
  bool ids_ = false;
  bool groups_ = false;
  bool capabilities_ = false;
};

// Takes CAP_FSETID from this thread for a scope, for a caller that has not got it. Costs no system
// call where the thread never had it.
class WithoutFsetid {
 public:
  explicit WithoutFsetid(bool active) noexcept;
  ~WithoutFsetid();
  WithoutFsetid(const WithoutFsetid&) = delete;
  WithoutFsetid& operator=(const WithoutFsetid&) = delete;

  // Whether there was something to take.
  [[nodiscard]] bool active() const noexcept { return active_; }

 private:
  bool active_ = false;
};

// Capability bits that as_caller may add.
inline constexpr std::uint64_t kCapDacReadSearch = 1ULL << 2;
inline constexpr std::uint64_t kCapFsetid = 1ULL << 4;

// Whether the caller is root, as which we run anyway.
[[nodiscard]] inline bool is_root(const Caller& caller) noexcept {
  return caller.uid == 0 && caller.gid == 0;
}

// Runs `call` as root, which we are. What is kept for root is used only when the call is refused
// without it: changing capabilities costs more than most calls. For calls that do all or nothing;
// who may do a part (write) allows it beforehand.
template <typename Call>
auto as_root(Call&& call) -> decltype(call()) {
  auto result = call();
  if (result.has_value() || thread_has_reserves()) return result;
  if (result.error() != ENOSPC && result.error() != EDQUOT && result.error() != EPERM)
    return result;
  set_thread_reserves(true);
  return call();
}

// Runs `call` (which gives a Result) as the caller. First with the ids and the groups of the
// request; only when that is refused are all groups and capabilities of the caller read from /proc
// (some 15 us) and the call repeated, which a refused call allows. The kernel has already checked
// the caller with default_permissions; this is the source's own check.
// `extra_capabilities` are kept in spite of the change of identity.
template <typename Call>
auto as_caller(const Caller& caller, Call&& call, std::uint64_t extra_capabilities = 0)
    -> decltype(call()) {
  if (!impersonation_enabled()) return call();
  if (is_root(caller)) return as_root(std::forward<Call>(call));
  auto result = [&]() -> decltype(call()) {
    const ActingAs acting(caller.uid, caller.gid, caller.groups, extra_capabilities);
    if (!acting.ok()) return Err(EPERM);
    return call();
  }();
  if (result.has_value() || (result.error() != EACCES && result.error() != EPERM)) return result;
  auto rights = CallerRights::of(caller);
  if (!rights || (rights->groups.empty() && rights->file_capabilities == 0)) return result;
  const ActingAs acting(caller.uid, caller.gid, rights->groups,
                        extra_capabilities | rights->file_capabilities);
  if (!acting.ok()) return result;
  return call();
}

// The same with all groups from the start, for calls that succeed with too few groups but then do
// something else (they decide over the set-group-ID bit).
template <typename Call>
auto as_caller_with_groups(const Caller& caller, Call&& call) -> decltype(call()) {
  if (!impersonation_enabled() || is_root(caller)) {
    return as_caller(caller, std::forward<Call>(call));
  }
  auto rights = CallerRights::of(caller);
  if (!rights) return as_caller(caller, std::forward<Call>(call));
  const ActingAs acting(caller.uid, caller.gid, rights->groups, rights->file_capabilities);
  if (!acting.ok()) return Err(EPERM);
  return call();
}

}  // namespace passthroughfs
