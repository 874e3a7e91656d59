// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"
#include "ops/attributes.h"
#include "ops/handlers.h"

namespace passthroughfs::ops {
namespace {

LogRateLimit g_count_log(1);

void give_back(OpContext& context, NodeId node, std::uint64_t count) {
  if (!context.state.inodes->forget(node, count) && g_count_log.allow()) {
    log_warning("FORGET of node {:#x} takes back more lookups than were given", node);
  }
}

}  // namespace

Result<EntryReply> lookup(OpContext& context, const wire::LookupRequest& request) {
  const InodeRef parent = TRY(context.node());
  const char* name = request.name.data();
  if (request.name == "..") {
    // Only an NFS server asks this way. The root's parent is the root: what is above the source is
    // none of the mount's business; nor is where a directory was moved to behind the mount.
    if (parent.id() != InodeTable::kRoot) return Err(ESTALE);
    name = ".";
  }
  auto entry = look_up(context.state, parent, name);
  if (!entry) {
    const std::uint64_t seconds = context.state.validity_on(parent->key.device).negative;
    if (entry.error() != ENOENT || seconds == 0) return entry.error();
    wire::EntryOut absent{};
    absent.entry_valid = seconds;
    return EntryReply{absent};
  }
  context.state.habits.looked_up(parent.id());
  return EntryReply{*entry};
}

void forget(OpContext& context, const wire::ForgetRequest& request) {
  give_back(context, context.node_id(), request.nlookup);
}

void batch_forget(OpContext& context, const wire::BatchForgetRequest& request) {
  for (const wire::ForgetOne& one : request.forgets) give_back(context, one.nodeid, one.nlookup);
}

}  // namespace passthroughfs::ops
