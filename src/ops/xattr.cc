// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "ops/announce.h"
#include "ops/handlers.h"
#include "source/sys.h"

namespace passthroughfs::ops {
namespace {

constexpr std::string_view kCapability = "security.capability";
constexpr std::string_view kTrusted = "trusted.";
constexpr std::string_view kAccessAcl = "system.posix_acl_access";

// ENOSYS would end extended attributes for the whole mount.
Errno never_enosys(Errno error) { return error == ENOSYS ? Err(EOPNOTSUPP) : error; }

// The size of a value or list instead of the value, when the client asked with size 0.
ByteSpan size_only(OpContext& context, std::size_t size) {
  const wire::GetxattrOut out{static_cast<std::uint32_t>(size), 0};
  std::memcpy(context.buffer.data(), &out, sizeof out);
  return context.buffer.first(sizeof out);
}

MutableByteSpan room(OpContext& context, std::uint32_t size) {
  return context.buffer.first(std::min<std::size_t>(size, context.buffer.size()));
}

// Natively trusted.* is listed only to whom it is open. The source lists it to us, so take it out.
std::size_t without_trusted(MutableByteSpan list) {
  char* const begin = reinterpret_cast<char*>(list.data());
  char* const end = begin + list.size();
  char* out = begin;
  for (char* at = begin; at < end;) {
    const std::size_t length = std::strlen(at) + 1;
    if (!std::string_view(at, length - 1).starts_with(kTrusted)) {
      std::memmove(out, at, length);
      out += length;
    }
    at += length;
  }
  return static_cast<std::size_t>(out - begin);
}

// Whether this very request may have changed the inode, before the process died that served it.
bool was_changed(OpContext& context, const InodeRef& inode) noexcept {
  if (!context.repeat.again) return false;
  const auto st = sys::stat_at(inode.fd(), "", STATX_CTIME);
  return st && context.repeat.may_have_changed(*st);
}

// Whether an attribute that was to be new has been set by this very request, before the process
// died that served it.
bool has_value(OpContext& context, const InodeRef& inode, const wire::SetxattrRequest& request) {
  if (!was_changed(context, inode)) return false;
  auto size = sys::get_xattr(inode.fd(), request.name.data(), context.buffer);
  return size && *size == request.value.size() &&
         std::memcmp(context.buffer.data(), request.value.data(), *size) == 0;
}

}  // namespace

Result<void> setxattr(OpContext& context, const wire::SetxattrRequest& request) {
  const InodeRef inode = TRY(context.node());
  const auto set = [&] {
    return sys::set_xattr(inode.fd(), request.name.data(), request.value,
                          static_cast<int>(request.flags));
  };
  const AnnouncedInode change(context, inode, inode.fd(), mark::kXattr | mark::kAttributes);
  Result<void> done;
  if (request.name == kAccessAcl) {
    // An ACL by an owner outside the owning group takes the set-group-ID bit away; the groups and
    // CAP_FSETID decide, so both must be the caller's.
    const WithoutFsetid without((request.setxattr_flags & wire::kSetxattrAclKillSgid) != 0);
    done = as_caller_with_groups(context.caller, set);
  } else {
    done = as_caller(context.caller, set);
  }
  if (!done && done.error() == EEXIST && has_value(context, inode, request)) return ok();
  if (!done) return never_enosys(done.error());
  return ok();
}

Result<ByteSpan> getxattr(OpContext& context, const wire::GetxattrRequest& request) {
  const InodeRef inode = TRY(context.node());
  auto size = sys::get_xattr(inode.fd(), request.name.data(), room(context, request.size));
  if (!size) return never_enosys(size.error());
  if (request.size == 0) return size_only(context, *size);
  return ByteSpan(context.buffer.first(*size));
}

Result<ByteSpan> listxattr(OpContext& context, const wire::ListxattrRequest& request) {
  const InodeRef inode = TRY(context.node());
  if (context.caller.uid == 0) {
    auto size = sys::list_xattr(inode.fd(), room(context, request.size));
    if (!size) return never_enosys(size.error());
    if (request.size == 0) return size_only(context, *size);
    return ByteSpan(context.buffer.first(*size));
  }
  // The whole list is needed to tell what is left of it.
  auto all = sys::list_xattr(inode.fd(), context.buffer);
  if (!all) return never_enosys(all.error());
  const std::size_t size = without_trusted(context.buffer.first(*all));
  if (request.size == 0) return size_only(context, size);
  if (size > request.size) return Err(ERANGE);
  return ByteSpan(context.buffer.first(size));
}

Result<void> removexattr(OpContext& context, const wire::RemovexattrRequest& request) {
  const InodeRef inode = TRY(context.node());
  const AnnouncedInode change(context, inode, inode.fd(), mark::kXattr | mark::kAttributes);
  const auto remove = [&] { return sys::remove_xattr(inode.fd(), request.name.data()); };
  auto done = [&]() -> Result<void> {
    // The kernel takes file capabilities away on a write, with the writer's ids; refusing it would
    // fail the write. Who removes them on purpose has been checked by the kernel.
    if (request.name == kCapability) {
      auto removed = remove();
      // An append-only file refuses a removal, and yet a write takes the capabilities along.
      // Without CAP_SETFCAP it is such a write that asks, and the source will do it as part of the
      // write.
      if (!removed && removed.error() == EPERM && context.caller.uid != 0) return ok();
      return removed;
    }
    // Succeeds with too few groups too, but then takes the set-group-ID bit along.
    if (request.name == kAccessAcl) return as_caller_with_groups(context.caller, remove);
    return as_caller(context.caller, remove);
  }();
  if (!done && done.error() == ENODATA && was_changed(context, inode)) return ok();
  if (!done) return never_enosys(done.error());
  return ok();
}

}  // namespace passthroughfs::ops
