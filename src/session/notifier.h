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

// Tells who supervises this process (Session::Takeover) while any thread tells the kernel to drop
// something that a request may hold. In between nothing ends that thread, so nor the process, but
// the answer to the request. Thread-safe.
class Dropping {
 public:
  // `tell`: is told when that begins and when it is over. May be empty.
  explicit Dropping(std::function<void(bool)> tell) : tell_(std::move(tell)) {}

  class Scope {
   public:
    explicit Scope(Dropping& dropping) : dropping_(dropping) { dropping_.count(1); }
    ~Scope() { dropping_.count(-1); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Dropping& dropping_;
  };

 private:
  void count(int change) PFS_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    const bool before = threads_ != 0;
    threads_ += change;
    if (tell_ && before != (threads_ != 0)) tell_(threads_ != 0);
  }

  const std::function<void(bool)> tell_;
  Mutex mutex_;
  int threads_ PFS_GUARDED_BY(mutex_) = 0;
};

// Tells the kernel what it should no longer believe, from a thread of its own that holds no lock:
// dropping pages waits for requests that are being served, so no serving thread may do it.
class Notifier final : public Invalidations {
 public:
  // Both must outlive this.
  Notifier(Channel& channel, Dropping& dropping);
  ~Notifier();  // ends the thread; what is queued is lost with the mount

  void drop_pages(NodeId node) noexcept override;
  void drop_attributes(NodeId node) noexcept override;

 private:
  void run();
  bool wait_for_work();  // false: there will be none any more
  std::optional<NodeId> take();

  Channel& channel_;
  Dropping& dropping_;
  Mutex mutex_;
  ConditionVariable changed_;
  std::deque<NodeId> queue_ PFS_GUARDED_BY(mutex_);
  std::unordered_set<NodeId> queued_ PFS_GUARDED_BY(mutex_);
  bool stopping_ PFS_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace passthroughfs
