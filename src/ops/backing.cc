// SPDX-License-Identifier: Apache-2.0
#include "ops/backing.h"

#include "source/credentials.h"

namespace passthroughfs {

void Backings::decline(std::string reason) {
  MutexLock lock(reasons_mutex_);
  reasons_[0] = std::move(reason);
}

// The device's earlier refusal saves asking again for each file.
std::int32_t Backings::register_file(const InodeRef& inode) noexcept {
  {
    MutexLock lock(reasons_mutex_);
    if (reasons_.find(inode->key.device) != reasons_.end()) return 0;
  }
  // The kernel does all later I/O with the rights that this thread has now; those over blocks
  // reserved for root are not for everybody.
  set_thread_reserves(false);
  auto id = channel_->open_backing(inode.fd());
  if (id) return *id;
  std::uint64_t device = inode->key.device;
  std::string why;
  switch (id.error().value()) {
    case EPERM:
    case ENOTTY:
      device = 0;
      why = "needs CAP_SYS_ADMIN and a kernel with FUSE passthrough";
      refused_everywhere_.store(true, std::memory_order_relaxed);
      break;
    case ELOOP:
    case EINVAL:
    case EOPNOTSUPP: why = "the source is stacked too deep or cannot be a backing file"; break;
    default: return 0;  // ENOMEM and the like: of this moment, not of the device
  }
  MutexLock lock(reasons_mutex_);
  reasons_.try_emplace(device, why + ": " + id.error().to_string());
  return 0;
}

std::int32_t Backings::begin_open(const InodeRef& inode) noexcept {
  if (!enabled()) return 0;
  MutexLock lock(locks_[static_cast<std::size_t>(inode.id()) % locks_.size()]);
  if (inode->daemon_opens == 0) {
    if (inode->backing_id == 0) inode->backing_id = register_file(inode);
    if (inode->backing_id != 0) {
      ++inode->backing_users;
      return inode->backing_id;
    }
  }
  ++inode->daemon_opens;
  return 0;
}

void Backings::end_open(const InodeRef& inode, bool passthrough) noexcept {
  if (channel_ == nullptr) return;
  MutexLock lock(locks_[static_cast<std::size_t>(inode.id()) % locks_.size()]);
  std::uint32_t& users = passthrough ? inode->backing_users : inode->daemon_opens;
  if (users > 0) --users;
}

void Backings::close(std::int32_t id) noexcept {
  if (channel_ != nullptr) (void)channel_->close_backing(id);
}

std::string Backings::reasons() const {
  MutexLock lock(reasons_mutex_);
  std::string out;
  for (const auto& [device, reason] : reasons_) {
    if (!out.empty()) out += "; ";
    out += reason;
  }
  return out;
}

}  // namespace passthroughfs
