// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/fd.h"
#include "base/region.h"
#include "channel/channel.h"
#include "ops/mount_state.h"
#include "session/notifier.h"
#include "source/change_events.h"

namespace passthroughfs {

// What a watch leaves to that of the next process: the beginning of a region, whose rest holds the
// events that were read and perhaps not passed on.
struct WatchRecord {
  std::atomic<std::int32_t> descriptor;  // of the events; 0: there are none
  std::atomic<std::uint32_t> names;      // the kernel can be told to drop every name that it knows
  std::atomic<std::uint32_t> begun;      // the kernel may have been told things for ever
  std::atomic<std::uint32_t> failed;     // after that; nothing is watched any more
};

// cache=coherent: hears of what others change in the source's file system, and tells the kernel to
// drop what it believes of it. As long as that works names, absence and attributes are given to it
// for ever (Coherence); from the moment on that it does not, as with cache=normal, and everything
// that it believes is dropped. A thread of its own, which holds no lock while it waits for the
// kernel: a name is dropped under its directory's lock, and pages when they are not being read.
//
// What was not passed on when the process died is by the next one: events stay in the kernel until
// they are read, and are read into memory that it inherits.
class SourceWatch {
 public:
  static constexpr std::size_t kMemoryBytes = 256UL * 1024;

  // `memory`: of kMemoryBytes, zero or another watch's of the same mount. All must outlive this.
  SourceWatch(MountState& state, Channel& channel, Dropping& dropping, Region& memory);
  ~SourceWatch();
  SourceWatch(const SourceWatch&) = delete;
  SourceWatch& operator=(const SourceWatch&) = delete;

  // Once for a mount, when the kernel has just been connected and nobody serves yet: so that what
  // is opened then is there for all who serve, and for who goes on when none is left. Asks the
  // kernel whether it can drop all names at once. What cannot be had start() tries once more.
  static void prepare(MountState& state, Channel& channel, Region& memory);
  // Before requests are served. `again`: another process has served, so the kernel believes
  // something already. Where nothing can be watched obstacle() says why.
  void start(bool again);
  // Ends the thread; what happens from then on is not told. Twice does no harm.
  void stop() noexcept;

  // Why nothing is watched, one line; empty: all is well. Thread-safe.
  [[nodiscard]] std::string obstacle() const PFS_EXCLUDES(mutex_);

  // The descriptor that a watch has left in its memory, for who must keep it open; -1: none.
  [[nodiscard]] static int descriptor_in(const Region& memory) noexcept;
  // It has that number now; -1: it is gone, and with it what was not read.
  static void set_descriptor(Region& memory, int descriptor) noexcept;

 private:
  using Pending = std::unordered_map<NodeId, bool>;  // whether pages, too

  [[nodiscard]] static Result<ChangeEvents> open_events(MountState& state, std::string& why);
  [[nodiscard]] Result<ChangeEvents> find_events(bool again, bool& missed, std::string& why);
  void run(bool again) noexcept;
  [[nodiscard]] bool rest(int events, int most_ms) const noexcept;  // false: it is to end
  void pass_on(ByteSpan batch);
  [[nodiscard]] NodeId node_of(const FileHandle& handle) const noexcept;
  void drop_name(NodeId directory, std::string_view name) noexcept;
  [[nodiscard]] bool drop_node(NodeId node, bool pages) noexcept;
  void drop_pending() noexcept;
  void drop_everything() noexcept;
  [[nodiscard]] bool has_failed() const noexcept;
  void give_up(std::string why) noexcept PFS_EXCLUDES(mutex_);

  static WatchRecord& record_in(const Region& memory) noexcept;
  [[nodiscard]] MutableByteSpan room() const noexcept;

  MountState& state_;
  Channel& channel_;
  Dropping& dropping_;
  Region& memory_;
  const pid_t self_;
  UniqueFd stop_;
  std::optional<ChangeEvents> events_;
  Pending pending_;  // the thread's: known here, and not to the kernel when it was told
  mutable Mutex mutex_;
  std::string obstacle_ PFS_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace passthroughfs
