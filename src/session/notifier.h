// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <thread>
#include <unordered_set>

#include "base/mutex.h"
#include "channel/channel.h"
#include "ops/mount_state.h"

namespace passthroughfs {

// Tells the kernel what it should no longer believe, from a thread of its own that holds no lock:
// dropping pages waits for requests that are being served, so no serving thread may do it.
class Notifier final : public Invalidations {
 public:
  // `dropping`: is told, by that thread, when it begins to drop pages and when it has none left to
  // drop. In between nothing ends it, so nor the process, but the answer to who holds them. May be
  // empty.
  explicit Notifier(Channel& channel, std::function<void(bool)> dropping = {});
  ~Notifier();  // ends the thread; what is queued is lost with the mount

  void drop_pages(NodeId node) noexcept override;
  void drop_attributes(NodeId node) noexcept override;

 private:
  void run();
  bool wait_for_work();  // false: there will be none any more
  std::optional<NodeId> take();

  Channel& channel_;
  const std::function<void(bool)> dropping_;
  Mutex mutex_;
  ConditionVariable changed_;
  std::deque<NodeId> queue_ PFS_GUARDED_BY(mutex_);
  std::unordered_set<NodeId> queued_ PFS_GUARDED_BY(mutex_);
  bool stopping_ PFS_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace passthroughfs
