// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>

#include "ops/handlers.h"
#include "ops/open_file.h"

namespace passthroughfs::ops {
namespace {

Result<LockClaim> claim_of(OpContext& context, const wire::LockRequest& request) {
  const wire::FileLock& lock = request.lock;
  if (lock.type != F_RDLCK && lock.type != F_WRLCK && lock.type != F_UNLCK) return Err(EINVAL);
  if (lock.end < lock.start) return Err(EINVAL);
  LockClaim claim;
  claim.node = context.node_id();
  claim.fh = request.fh;
  claim.owner = request.owner;
  claim.lock = lock;
  claim.flock = request.flock;
  return claim;
}

// In the stateless design locks are not negotiated: the kernel keeps them itself.
Result<HandleRef> handle_of(OpContext& context, const wire::LockRequest& request) {
  HandleRef handle = TRY(context.state.handles->get(request.fh, context.node_id()));
  TRY(ensure_descriptor(context.state, handle));
  return handle;
}

}  // namespace

Result<wire::LkOut> getlk(OpContext& context, const wire::LockRequest& request) {
  const HandleRef handle = TRY(handle_of(context, request));
  const LockClaim claim = TRY(claim_of(context, request));
  return wire::LkOut{TRY(context.state.locks.test(claim, handle))};
}

Result<void> setlk(OpContext& context, const wire::LockRequest& request) {
  const HandleRef handle = TRY(handle_of(context, request));
  const LockClaim claim = TRY(claim_of(context, request));
  return context.state.locks.set(claim, handle, context.state.source);
}

void setlkw(OpContext& context, const wire::LockRequest& request, wire::Reply reply) {
  auto handle = handle_of(context, request);
  auto claim = claim_of(context, request);
  if (!handle || !claim) {
    (void)reply.error(handle ? claim.error() : handle.error());
    return;
  }
  context.state.locks.set_or_wait(*claim, std::move(*handle), context.state.source,
                                  std::move(reply), [&] { return context.interrupted(); });
}

}  // namespace passthroughfs::ops
