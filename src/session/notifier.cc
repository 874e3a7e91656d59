// SPDX-License-Identifier: Apache-2.0
#include "session/notifier.h"

#include <pthread.h>

#include <array>
#include <utility>

#include "base/log.h"
#include "base/thread.h"

namespace passthroughfs {
namespace {

constexpr std::size_t kMostQueued = 65536;

}  // namespace

Notifier::Notifier(Channel& channel, Dropping& dropping)
    : channel_(channel), dropping_(dropping), thread_([this] { run(); }) {}

Notifier::~Notifier() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Notifier::drop_pages(NodeId node) noexcept {
  try {
    MutexLock lock(mutex_);
    if (queue_.size() >= kMostQueued || !queued_.insert(node).second) return;
    queue_.push_back(node);
  } catch (const std::bad_alloc&) {
    log_warning("no memory to invalidate node {:#x}", node);
    return;
  }
  changed_.notify_one();
}

void Notifier::drop_attributes(NodeId node) noexcept {
  const wire::NotifyInvalInodeOut out{node, -1, 0};  // an offset below 0: no pages
  const std::array parts{bytes_of(out)};
  (void)channel_.notify(wire::Notify::inval_inode, parts);
}

void Notifier::run() {
  (void)::pthread_setname_np(::pthread_self(), kNotifierName);
  while (wait_for_work()) {
    const Dropping::Scope dropping(dropping_);
    while (const auto node = take()) {
      const wire::NotifyInvalInodeOut out{*node, 0, 0};  // all pages, and the attributes
      const std::array parts{bytes_of(out)};
      // ENOENT: the kernel does not know the node any more, so it believes nothing of it.
      (void)channel_.notify(wire::Notify::inval_inode, parts);
    }
  }
}

bool Notifier::wait_for_work() {
  MutexLock lock(mutex_);
  while (queue_.empty() && !stopping_) changed_.wait(mutex_);
  return !stopping_;
}

std::optional<NodeId> Notifier::take() {
  MutexLock lock(mutex_);
  if (queue_.empty() || stopping_) return std::nullopt;
  const NodeId node = queue_.front();
  queue_.pop_front();
  queued_.erase(node);
  return node;
}

}  // namespace passthroughfs
