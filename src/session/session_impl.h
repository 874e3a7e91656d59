// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/region.h"
#include "base/regions.h"
#include "channel/channel.h"
#include "channel/mount.h"
#include "ops/mount_state.h"
#include "session/handle_saver.h"
#include "session/journal_file.h"
#include "session/negotiate.h"
#include "session/notifier.h"
#include "session/recovery.h"
#include "session/revival.h"
#include "session/session.h"
#include "session/source_watch.h"
#include "session/watchdog.h"
#include "session/worker_pool.h"

namespace passthroughfs {

// One mount in a process that serves it: session.cc has its life, session_views.cc what it shows of
// itself.
class SessionImpl final : public Session {
 public:
  SessionImpl(const MountConfig& config, SourceTree source, std::uint64_t limit, Regions regions)
      : state_(config, std::move(source), limit), regions_(std::move(regions)) {}
  ~SessionImpl() override;

  Result<void> prepare(std::string& message, const Handover* from);
  Result<void> connect(UniqueFd device, std::string& message) override;
  Result<void> go_on(const Handover& from, std::string& message) override;
  Result<void> revive(std::string& message) override {
    return begin_revival(state_, continued()->revival, message);
  }
  void hand_over(Handover& handover) const override;
  bool drain(std::chrono::milliseconds most) override { return pool_->drain(most); }
  Result<void> serve(const Takeover& takeover, std::string& message) override;
  Result<void> wait() override;
  [[nodiscard]] unsigned root_mode() const override { return S_IFDIR; }
  [[nodiscard]] unsigned long source_mount_flags() const override;
  [[nodiscard]] HandlePage handles(std::uint64_t position, std::size_t most) const override;
  [[nodiscard]] StatsView stats() const override;
  [[nodiscard]] const MountConfig& config() const override { return state_.config; }
  [[nodiscard]] ChangeQueries* changes() const override { return state_.journal.get(); }
  [[nodiscard]] bool is_connected() const noexcept override {
    return channel_ && passthroughfs::is_connected(BorrowedFd(channel_->descriptor()));
  }
  void leave() noexcept override {
    if (memory_) memory_->remove();
  }
  [[nodiscard]] bool can_be_recovered() const override {
    return (settled_.flags & wire::init_flag::has_resend) != 0;
  }

 private:
  Result<Negotiated> shake_hands(std::string& message, bool rings);
  Result<void> prepare_recovery(const Handover* from);
  void set_up_channel();
  Result<void> open_journal(std::string& message);
  void tell_kernel_of_takeover();
  void start_watchdog(const Takeover& takeover);
  void no_rings(std::string why);
  void find_own_device();
  void choose_io(const Negotiated& settled);

  // What a successor of this process needs besides the tables, in shared memory.
  struct Continued {
    static constexpr std::size_t kBytes = 4096;
    std::atomic<std::uint64_t> mount_epoch;  // of the journal; 0: not opened yet
    RevivalRecord revival;
  };
  [[nodiscard]] Continued* continued() const noexcept {
    return continued_ ? reinterpret_cast<Continued*>(continued_->data()) : nullptr;
  }
  [[nodiscard]] bool recovers() const noexcept { return continued_.has_value(); }

  // Destroyed from the bottom up: threads first, then the channel that they use, then the tables.
  mutable MountState state_;
  Regions regions_;                        // of the tables
  std::optional<Region> continued_;        // with recover=on
  std::optional<MemoryDirectory> memory_;  // likewise
  std::optional<Region> watch_memory_;     // with cache=coherent
  Recovery recovery_{state_};
  Negotiated settled_;
  std::unique_ptr<Channel> channel_;
  std::optional<Dropping> dropping_;
  std::unique_ptr<Notifier> notifier_;
  std::unique_ptr<SourceWatch> watch_;  // with cache=coherent
  std::unique_ptr<WorkerPool> pool_;
  std::unique_ptr<Watchdog> watchdog_;  // looks at the pool
  std::unique_ptr<HandleSaver> saver_;
  bool stacked_ = false;         // the source is a layer over another file system
  std::string no_journal_file_;  // why the journal is in memory, if that was not asked for
  std::string no_rings_;         // why it is not io_uring, if that was wanted
};

}  // namespace passthroughfs
