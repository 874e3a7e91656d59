// SPDX-License-Identifier: Apache-2.0
#include "session/source_watch.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <new>
#include <set>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "base/thread.h"
#include "source/sys.h"

namespace passthroughfs {
namespace {

// Between two looks at what has happened: until then more may become one event, and our own
// changes, which come along, wake nobody for each of them.
constexpr int kPauseMs = 1;

constexpr const char* kLost = "changes of the source were lost";

}  // namespace

WatchRecord& SourceWatch::record_in(const Region& memory) noexcept {
  return *std::launder(reinterpret_cast<WatchRecord*>(memory.data()));
}

MutableByteSpan SourceWatch::room() const noexcept {
  return {memory_.data() + sizeof(WatchRecord), memory_.size() - sizeof(WatchRecord)};
}

int SourceWatch::descriptor_in(const Region& memory) noexcept {
  const int descriptor = record_in(memory).descriptor.load();
  return descriptor > 0 ? descriptor : -1;
}

void SourceWatch::set_descriptor(Region& memory, int descriptor) noexcept {
  record_in(memory).descriptor.store(descriptor);
}

SourceWatch::SourceWatch(MountState& state, Channel& channel, Dropping& dropping, Region& memory)
    : state_(state),
      channel_(channel),
      dropping_(dropping),
      memory_(memory),
      self_(::getpid()),
      stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

SourceWatch::~SourceWatch() {
  stop();
  state_.coherence.end();
}

void SourceWatch::stop() noexcept {
  if (!thread_.joinable()) return;
  (void)::eventfd_write(stop_.get(), 1);
  thread_.join();
}

std::string SourceWatch::obstacle() const {
  MutexLock lock(mutex_);
  return obstacle_;
}

Result<ChangeEvents> SourceWatch::open_events(MountState& state, std::string& why) {
  if (state.remote_source) {
    why = "what other machines and daemons change in the source is told to nobody";
    return Err(EOPNOTSUPP);
  }
  if (!state.source.has_own_mount()) {
    why = "needs CAP_SYS_ADMIN";
    return Err(EPERM);
  }
  return ChangeEvents::open(state.source.root(), why);
}

void SourceWatch::prepare(MountState& state, Channel& channel, Region& memory) {
  record_in(memory).names.store(channel.notify(wire::Notify::inc_epoch, {}) ? 1 : 0);
  std::string why;
  if (auto events = open_events(state, why)) set_descriptor(memory, events->release());
}

Result<ChangeEvents> SourceWatch::find_events(bool again, bool& missed, std::string& why) {
  if (has_failed()) {
    why = kLost;
    return Err(EOVERFLOW);
  }
  if (const int left = descriptor_in(memory_); left >= 0) {
    if (auto events = ChangeEvents::adopt(UniqueFd(left), state_.source.root())) return events;
  }
  missed = again && record_in(memory_).begun.load() != 0;
  set_descriptor(memory_, -1);
  auto events = open_events(state_, why);
  if (events) set_descriptor(memory_, events->descriptor());
  return events;
}

void SourceWatch::start(bool again) {
  std::string why;
  bool missed = false;
  auto events = stop_.valid() ? find_events(again, missed, why) : Err(EMFILE);
  if (!events) {
    give_up(why.empty() ? events.error().to_string() : why);
    if (has_failed()) drop_everything();
    return;
  }
  events_.emplace(std::move(*events));
  if (missed) drop_everything();
  // What is told from here on waits for the thread, which may find that it has to end this.
  record_in(memory_).begun.store(1);
  state_.coherence.begin(state_.source.root_device(), record_in(memory_).names.load() != 0);
  try {
    thread_ = start_thread([this, again] { run(again); });
  } catch (const std::system_error&) {
    give_up("no thread");
    drop_everything();
  }
}

// Everything that the kernel believes for ever it was told before this.
void SourceWatch::give_up(std::string why) noexcept {
  record_in(memory_).failed.store(record_in(memory_).begun.load());
  state_.coherence.end();
  state_.coherence.hear();
  log_warning("cache=coherent: serving with normal from now on: {}", why);
  MutexLock lock(mutex_);
  obstacle_ = std::move(why);
}

bool SourceWatch::rest(int events, int most_ms) const noexcept {
  std::array<pollfd, 2> waited{pollfd{stop_.get(), POLLIN, 0}, pollfd{events, POLLIN, 0}};
  (void)::poll(waited.data(), waited.size(), most_ms);
  return waited[0].revents == 0;
}

void SourceWatch::run(bool again) noexcept {
  // Its process may have to be given up while it waits, as with the notifier's.
  (void)::pthread_setname_np(::pthread_self(), kNotifierName);
  try {
    // What the process before this one has read. It may have died while it made zeros of that.
    pass_on(room());
    if (again) std::memset(room().data(), 0, room().size());
    while (!has_failed() && rest(events_->descriptor(), pending_.empty() ? -1 : kPauseMs)) {
      const auto batch = events_->read(room());
      if (batch) {
        pass_on(*batch);
        std::memset(room().data(), 0, batch->size());
      } else {
        give_up(batch.error().to_string());
      }
      drop_pending();
      const bool more = batch && batch->size() > room().size() / 2;
      if (!more && !rest(-1, kPauseMs)) return;
    }
  } catch (const std::bad_alloc&) {
    give_up("no memory");
  }
  if (!has_failed()) return;
  drop_everything();
  // What answers are on their way to tell of, they told when they were written.
  while (!pending_.empty() && rest(-1, kPauseMs)) drop_pending();
}

bool SourceWatch::has_failed() const noexcept { return record_in(memory_).failed.load() != 0; }

NodeId SourceWatch::node_of(const FileHandle& handle) const noexcept {
  const auto found = events_->find(handle);
  if (!found) return 0;  // gone: its names are told by other events
  const auto st = sys::stat_at(found->borrow(), "", STATX_INO);
  if (!st) return 0;
  return state_.inodes->known_as(
      {device_number(st->stx_dev_major, st->stx_dev_minor), st->stx_ino});
}

void SourceWatch::pass_on(ByteSpan batch) {
  bool others = false;
  for (ByteSpan rest = batch; const auto event = next_change(rest);) {
    others = others || event->lost || event->process != self_;
  }
  if (!others) return;
  state_.coherence.hear();
  std::unordered_map<std::string, NodeId> known;  // by handle: many events are of few objects
  const auto find = [&](const FileHandle& handle) {
    std::string key(reinterpret_cast<const char*>(handle.data), handle.bytes);
    key += std::to_string(handle.type);
    const auto [at, added] = known.try_emplace(std::move(key), 0);
    if (added) at->second = node_of(handle);
    return at->second;
  };
  // All of it has happened by now, so each thing is dropped once.
  std::set<std::pair<NodeId, std::string_view>> names;
  for (ByteSpan rest = batch; const auto event = next_change(rest);) {
    if (event->lost) return give_up(kLost);
    if (event->process == self_) continue;
    if (event->names) {
      if (const NodeId directory = find(*event->directory); directory != 0) {
        names.emplace(directory, event->name);
        pending_[directory] = true;  // the listing, too
      }
    }
    if (event->object) {
      if (const NodeId node = find(*event->object); node != 0) {
        pending_[node] = pending_[node] || event->data;
      }
    }
  }
  const Dropping::Scope dropping(dropping_);
  for (const auto& [directory, name] : names) drop_name(directory, name);
  drop_pending();
}

// ENOENT: the kernel has no such name. Nor is it being told of one: it holds the directory's lock
// until the answer to LOOKUP has become a name, and this waits for that lock.
void SourceWatch::drop_name(NodeId directory, std::string_view name) noexcept {
  const wire::NotifyInvalEntryOut out{directory, static_cast<std::uint32_t>(name.size()), 0};
  const auto* text = reinterpret_cast<const std::byte*>(name.data());
  const std::array parts{bytes_of(out), ByteSpan(text, name.size() + 1)};
  (void)channel_.notify(wire::Notify::inval_entry, parts);
}

// False: the kernel does not know the node. An answer that tells it of the node may be on its way,
// with attributes of before.
bool SourceWatch::drop_node(NodeId node, bool pages) noexcept {
  const wire::NotifyInvalInodeOut out{node, pages ? 0 : -1, 0};
  const std::array parts{bytes_of(out)};
  const auto sent = channel_.notify(wire::Notify::inval_inode, parts);
  return sent || sent.error() != ENOENT;
}

void SourceWatch::drop_pending() noexcept {
  if (pending_.empty()) return;
  const Dropping::Scope dropping(dropping_);
  for (auto at = pending_.begin(); at != pending_.end();) {
    const bool told = drop_node(at->first, at->second);
    at = told || !state_.inodes->kernel_knows(at->first) ? pending_.erase(at) : std::next(at);
  }
}

void SourceWatch::drop_everything() noexcept {
  const Dropping::Scope dropping(dropping_);
  state_.coherence.hear();
  if (record_in(memory_).names.load() != 0) {
    (void)channel_.notify(wire::Notify::inc_epoch, {});
  }
  pending_.clear();
  state_.inodes->for_each_id([&](NodeId node) {
    if (drop_node(node, false) || !state_.inodes->kernel_knows(node)) return;
    try {
      pending_.emplace(node, false);
    } catch (const std::bad_alloc&) {
      log_warning("no memory to remember that node {:#x} is to be dropped", node);
    }
  });
}

}  // namespace passthroughfs
