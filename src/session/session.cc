// SPDX-License-Identifier: Apache-2.0
#include "session/session_impl.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/fault.h"
#include "base/log.h"
#include "channel/dev_fuse.h"
#include "channel/uring.h"
#include "session/continuation.h"
#include "session/limits.h"
#include "session/negotiate.h"
#include "source/credentials.h"
#include "source/fs_kind.h"
#include "source/sys.h"

namespace passthroughfs {
namespace {

// Up to the hard limit, which is the administrator's word; gives the limit in force.
std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  if (limit.rlim_cur < limit.rlim_max) {
    rlimit raised{limit.rlim_max, limit.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return limit.rlim_cur;
}

Validity validity_of(CacheMode mode) {
  switch (mode) {
    case CacheMode::none: return {0, 0, 0};
    case CacheMode::forever: return {kForEver, kForEver, kForEver};
    case CacheMode::normal:
    case CacheMode::coherent: break;  // where changes are not told; see SourceWatch
  }
  return {1, 1, 0};
}

// What a Handover of a session holds, beside its regions.
constexpr const char* kDevice = "dev_fuse";
constexpr const char* kRoot = "source_root";
constexpr const char* kOwnMount = "source_own_mount";
constexpr const char* kWithoutAtime = "source_without_atime";
constexpr const char* kOwnDevice = "own_device";
constexpr const char* kWatch = "source_watch";
constexpr const char* kMemoryDirectory = "memory_directory";
constexpr const char* kMemoryLock = "memory_lock";

// An inode whose last name is gone may still be open: its handle has a descriptor of it.
Result<UniqueFd> reopen_from_handle(void* context, NodeId id) {
  auto& state = *static_cast<MountState*>(context);
  Result<UniqueFd> found = Err(ESTALE);
  state.handles->for_each([&](std::uint64_t, const HandleRef& handle) {
    if (handle->node == id && !found && handle.fd().valid())
      found = state.source.reopen(handle.fd(), O_PATH);
  });
  return found;
}

Result<SourceTree> source_of(const Handover& from, std::string& message) {
  const auto root = from.descriptor(kRoot);
  if (!root) {
    message = "the program before this one has left no source";
    return Err(EPROTO);
  }
  const SourceTree::Through through{.own_mount = from.number(kOwnMount).value_or(0) != 0,
                                    .noatime = from.number(kWithoutAtime).value_or(0) != 0};
  return SourceTree::adopt(UniqueFd(*root), through, message);
}

}  // namespace

SessionImpl::~SessionImpl() {
  saver_.reset();
  watchdog_.reset();
  pool_.reset();
  // Claims that still wait hold handles and replies to queues that are gone with the pool.
  notifier_.reset();
  watch_.reset();
  state_.invalidations = nullptr;
  // The channel goes before the tables, and backing ids go with it.
  if (state_.inodes) state_.inodes->set_backing_closer(nullptr, nullptr);
}

Result<void> SessionImpl::prepare(std::string& message, const Handover* from) {
  auto inodes = InodeTable::create(state_.source, state_.budget, kMostInodes, regions_);
  if (!inodes) {
    message = "inode table: " + inodes.error().to_string();
    return inodes.error();
  }
  state_.inodes = std::move(*inodes);
  auto handles = HandleTable::create(*state_.inodes, kMostHandles, regions_);
  if (!handles) {
    message = "handle table: " + handles.error().to_string();
    return handles.error();
  }
  state_.handles = std::move(*handles);
  state_.inodes->set_orphan_finder(&reopen_from_handle, &state_);
  state_.validity = validity_of(state_.config.cache);
  struct statfs fs;
  if (::fstatfs(state_.source.root().get(), &fs) == 0) {
    const FsKind kind = fs_kind(fs);
    state_.remote_source = kind.remote;
    state_.memory_source = kind.in_memory;
    state_.silent_close = kind.silent_close;
    stacked_ = kind.stacked;
  }
  state_.inodes->set_backing_closer(
      [](void* context, std::int32_t id) { static_cast<MountState*>(context)->backings.close(id); },
      &state_);
  if (state_.config.cache == CacheMode::coherent) {
    auto memory = regions_.make("passthroughfs-watch", SourceWatch::kMemoryBytes);
    if (!memory) {
      message = "memory for cache=coherent: " + memory.error().to_string();
      return memory.error();
    }
    watch_memory_.emplace(std::move(*memory));
  }
  if (state_.config.recover) {
    if (auto prepared = prepare_recovery(from); !prepared) {
      message = "memory for recover=on: " + prepared.error().to_string();
      return prepared.error();
    }
    return ok();  // the process that serves opens the journal
  }
  return open_journal(message);
}

// What a successor needs lies in memory that this process shares with it.
Result<void> SessionImpl::prepare_recovery(const Handover* from) {
  const std::size_t room = request_room(state_.config.max_write);
  state_.ledgers = TRY(Ledgers::create(kMostLedgers, room, regions_));
  TRY(state_.locks.keep(kMostLockOwners, regions_));
  TRY(state_.source.keep(regions_));
  continued_.emplace(TRY(regions_.make("passthroughfs-session", Continued::kBytes)));
  if (from != nullptr) {
    if (auto path = from->text(kMemoryDirectory)) {
      UniqueFd lock(from->descriptor(kMemoryLock).value_or(-1));
      memory_.emplace(MemoryDirectory::adopt(*path, std::move(lock)));
    }
  } else if (state_.config.journal != JournalMode::off) {
    // For journal=memory, and for a file that cannot be had.
    auto directory = MemoryDirectory::create();
    if (directory) memory_.emplace(std::move(*directory));
  }
  return ok();
}

// A journal that was named is wanted, and the mount fails without it. Otherwise the mount is worth
// more.
Result<void> SessionImpl::open_journal(std::string& message) {
  if (state_.config.journal == JournalMode::off) return ok();
  ChangeJournal::Options options;
  options.source = state_.config.source;
  const bool named = !state_.config.journal_file.empty();
  if (state_.config.journal == JournalMode::file) {
    options.file = state_.config.journal_file;
    if (!named) {
      auto file = default_journal_file(state_.config.source);
      if (file) {
        options.file = *file;
      } else {
        no_journal_file_ = "no state directory: " + file.error().to_string();
      }
    }
  }
  // Below the mount point it would be reached through the mount, once that is there.
  if (!options.file.empty() && options.file.starts_with(state_.config.mountpoint + "/")) {
    no_journal_file_ = fmt::format("journal '{}' is below the mount point", options.file);
    if (named) {
      message = no_journal_file_;
      return Err(EINVAL);
    }
    options.file.clear();
  }
  if (Continued* const before = continued()) options.mount_epoch = before->mount_epoch.load();
  options.mapped = recovery_.mapped();
  if (memory_) options.memory_file = memory_->path() + "/journal";
  const ChangeJournal::Subject subject{state_.source, *state_.inodes, *state_.handles, kMostInodes};
  auto journal = ChangeJournal::open(options, subject);
  if (!journal && !named && !options.file.empty()) {
    no_journal_file_ = journal.error().message;
    options.file.clear();
    journal = ChangeJournal::open(options, subject);
  }
  if (!journal) {
    message = journal.error().message;
    return Err(journal.error().code);
  }
  if (!no_journal_file_.empty()) {
    log_warning("changes are recorded in memory only: {}", no_journal_file_);
  }
  state_.journal = std::move(*journal);
  state_.changes = &state_.journal->tracker();
  if (Continued* const next = continued()) next->mount_epoch.store(state_.journal->mount_epoch());
  return ok();
}

// Answers INIT on a queue of its own before any worker exists, so that a failure here is the mount
// command's error and not a mount that hangs.
Result<Negotiated> SessionImpl::shake_hands(std::string& message, bool rings) {
  auto queue = channel_->open_queue(-1);
  if (!queue) {
    message = "no memory for request buffers: " + queue.error().to_string();
    return queue.error();
  }
  for (;;) {
    auto incoming = (*queue)->next();
    if (!incoming) {
      message = "the kernel ended the connection: " + incoming.error().to_string();
      return incoming.error();
    }
    if (!incoming->has_value()) continue;
    Incoming& first = **incoming;
    if (first.request.opcode() != wire::Opcode::init) {
      (void)first.reply.error(Err(EIO));
      continue;
    }
    auto offer = wire::decode<wire::InitRequest>(first.request, wire::DecodeOptions{});
    Result<Negotiated> settled =
        offer ? negotiate(*offer, state_.config, stacked_, rings) : offer.error();
    if (!settled) {
      message = "the kernel's FUSE protocol is not one that can be served: " +
                settled.error().to_string();
      (void)first.reply.error(settled.error());
      return settled.error();
    }
    auto sent = first.reply.value(settled->reply);
    if (!sent) {
      message = "the kernel refused the INIT answer: " + sent.error().to_string();
      return sent.error();
    }
    if (!settled->again) return settled;
  }
}

void SessionImpl::find_own_device() {
  struct statx st;
  if (state_.config.mountpoint.empty() ||
      ::statx(AT_FDCWD, state_.config.mountpoint.c_str(), AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
              STATX_TYPE, &st) != 0) {
    return;
  }
  const std::uint64_t device = device_number(st.stx_dev_major, st.stx_dev_minor);
  // Somebody may have mounted over it, or it may not be visible from here: then the source's own
  // device must not be taken for ours.
  if (device != state_.source.root_device()) state_.own_device = device;
}

void SessionImpl::choose_io(const Negotiated& settled) {
  if (state_.config.io == IoMode::daemon) {
    state_.backings.decline("asked for by io=daemon");
  } else if (state_.config.writeback) {
    state_.backings.decline("writeback gathers writes in pages of the mount");
  } else if (state_.config.handles == HandleMode::stateless) {
    state_.backings.decline("handles=stateless has no opens");
  } else if ((settled.flags & wire::init_flag::passthrough) == 0) {
    state_.backings.decline("this kernel has no FUSE passthrough");
  } else if (state_.config.noatime && !state_.source.without_atime()) {
    state_.backings.decline("noatime needs CAP_SYS_ADMIN to hold in the kernel");
  } else {
    state_.backings.enable(*channel_);
  }
}

// /dev/fuse serves as well, so this is worth a line to those who asked for something else.
void SessionImpl::no_rings(std::string why) {
  no_rings_ = std::move(why);
  if (state_.config.transport == TransportMode::uring) {
    log_warning("transport=uring is not to be had, serving over /dev/fuse: {}", no_rings_);
  }
}

Result<void> SessionImpl::connect(UniqueFd device, std::string& message) {
  std::string obstacle;
  std::unique_ptr<UringPlan> plan;
  UniqueFd ring_device;
  if (recovers()) {
    // Requests that were on a ring are lost with the process that had it.
    if (state_.config.transport == TransportMode::uring) no_rings("recover=on");
  } else if (state_.config.transport != TransportMode::dev) {
    plan = plan_uring(obstacle);
    ring_device = TRY(duplicate(device.borrow()));
  }
  channel_ = make_dev_fuse_channel(std::move(device), state_.config.max_write);
  settled_ = TRY(shake_hands(message, plan != nullptr));
  if ((settled_.flags & wire::init_flag::over_io_uring) != 0) {
    channel_ = make_uring_channel(std::move(plan), std::move(channel_), std::move(ring_device),
                                  settled_.reply.max_write);
  } else if (state_.config.transport != TransportMode::dev && !recovers()) {
    if (obstacle.empty()) obstacle = uring_obstacle();
    no_rings(obstacle.empty() ? "the kernel does not offer it" : obstacle);
  }
  if (watch_memory_) SourceWatch::prepare(state_, *channel_, *watch_memory_);
  find_own_device();
  set_up_channel();
  return ok();
}

void SessionImpl::set_up_channel() {
  if (state_.config.handles == HandleMode::table) {
    channel_->set_file_finder(
        [](void* context) { return static_cast<MountState*>(context)->handles->any_file(); },
        &state_);
  }
  state_.maps_direct_files = (settled_.flags & wire::init_flag::direct_io_allow_mmap) != 0;
  choose_io(settled_);
}

// The kernel knows nothing of it, so what was negotiated stays in force.
Result<void> SessionImpl::go_on(const Handover& from, std::string& message) {
  const auto device = from.descriptor(kDevice);
  const auto settled = get_negotiated(from);
  const auto own_device = from.number(kOwnDevice);
  if (!recovers() || !device || !settled || !own_device) {
    message = "what the program before this one has left is not whole";
    return Err(EPROTO);
  }
  settled_ = *settled;
  state_.own_device = *own_device;
  channel_ = make_dev_fuse_channel(UniqueFd(*device), state_.config.max_write);
  if (watch_memory_) {
    SourceWatch::set_descriptor(*watch_memory_, from.descriptor(kWatch).value_or(-1));
  }
  set_up_channel();
  return ok();
}

void SessionImpl::hand_over(Handover& handover) const {
  regions_.leave_to(handover);
  handover.put_descriptor(kDevice, channel_->descriptor());
  handover.put_descriptor(kRoot, state_.source.root().get());
  handover.put_number(kOwnMount, state_.source.has_own_mount() ? 1 : 0);
  handover.put_number(kWithoutAtime, state_.source.without_atime() ? 1 : 0);
  handover.put_number(kOwnDevice, state_.own_device);
  if (memory_) {
    handover.put_text(kMemoryDirectory, memory_->path());
    handover.put_descriptor(kMemoryLock, memory_->lock().get());
  }
  if (watch_memory_) {
    if (const int fd = SourceWatch::descriptor_in(*watch_memory_); fd >= 0) {
      handover.put_descriptor(kWatch, fd);
    }
  }
  put_negotiated(handover, settled_);
}

Result<void> SessionImpl::serve(const Takeover& takeover, std::string& message) {
  if (recovers()) TRY(state_.source.recover(message));
  if (takeover.outlives_all) state_.inodes->keep_handles();
  if (takeover.again) {
    renew_faults();
    if (continued()->revival.revivals.load() != 0) state_.inodes->was_forgotten();
    std::vector<int> kept(takeover.descriptors.begin(), takeover.descriptors.end());
    if (watch_memory_) kept.push_back(SourceWatch::descriptor_in(*watch_memory_));
    std::sort(kept.begin(), kept.end());
    if (auto taken = recovery_.take_tables(kept, takeover.died); !taken) {
      message = "what the last server has left is damaged: " + taken.error().to_string();
      return taken;
    }
  }
  if (recovers()) revive_open_files(state_, continued()->revival);
  if (recovers()) TRY(open_journal(message));
  if (state_.journal) state_.journal->start(state_.own_device);
  if (takeover.again) {
    recovery_.finish_orphans(settled_.decode);
    state_.ledgers->free_unused_rooms();
  }
  dropping_.emplace(takeover.dropping);
  notifier_ = std::make_unique<Notifier>(*channel_, *dropping_);
  state_.invalidations = notifier_.get();
  pool_ = std::make_unique<WorkerPool>(*channel_,
                                       ServeContext{state_, settled_.decode, ::geteuid(),
                                                    impersonation_obstacle() == nullptr, recovery_},
                                       state_.config.threads);
  if (takeover.again) tell_kernel_of_takeover();
  if (watch_memory_) {
    watch_ = std::make_unique<SourceWatch>(state_, *channel_, *dropping_, *watch_memory_);
    watch_->start(takeover.again);
  }
  auto started = pool_->start(message);
  if (started) start_watchdog(takeover);
  if (started && takeover.outlives_all) {
    saver_ = std::make_unique<HandleSaver>(*state_.inodes);
    if (auto saving = saver_->start(); !saving) {
      log_warning("no thread to save file handles: {}", saving.error().to_string());
    }
  }
  if (pool_->unbound_for()) {
    no_rings("the kernel refused a ring: " + pool_->unbound_for()->to_string());
  }
  return started;
}

void SessionImpl::start_watchdog(const Takeover& takeover) {
  watchdog_ = std::make_unique<Watchdog>(*pool_, state_, settled_.decode);
  if (takeover.beat) watchdog_->give_signs(takeover.beat, takeover.beat_every);
  if (auto watching = watchdog_->start(); !watching) {
    log_warning("no thread to look for hung requests: {}", watching.error().to_string());
  }
}

// Whatever was read and not answered is sent again; so nobody may have read anything yet. What was
// to be invalidated is not known any more, so the pages of files that this process reads and writes
// are.
void SessionImpl::tell_kernel_of_takeover() {
  if (auto sent = channel_->notify(wire::Notify::resend, {}); !sent) {
    log_error("the kernel does not send requests again: {}", sent.error().to_string());
  }
  state_.handles->for_each([&](std::uint64_t, const HandleRef& handle) {
    if (handle->kind == HandleKind::file && handle->io == HandleIo::daemon) {
      state_.invalidations->drop_pages(handle->node);
    }
  });
}

Result<void> SessionImpl::wait() {
  auto how = pool_->wait();
  state_.locks.abandon();
  if (state_.journal) state_.journal->stop();
  if (watchdog_) watchdog_->stop();
  if (watch_) watch_->stop();
  saver_.reset();
  return how;
}

unsigned long SessionImpl::source_mount_flags() const {
  struct statvfs fs;
  if (::fstatvfs(state_.source.root().get(), &fs) != 0) return 0;
  return fs.f_flag;
}

Result<std::unique_ptr<Session>> Session::create(const MountConfig& config, std::string& message,
                                                 const Handover* from) {
  const std::uint64_t limit = raise_descriptor_limit();
  const SourceTree::Through through{.own_mount = config.cache == CacheMode::coherent,
                                    .noatime = config.noatime};
  auto source = from == nullptr ? SourceTree::open(config.source, message, through)
                                : source_of(*from, message);
  if (!source) return source.error();
  auto session = std::make_unique<SessionImpl>(config, std::move(*source), limit,
                                               from == nullptr ? Regions() : Regions(*from));
  TRY(session->prepare(message, from));
  return std::unique_ptr<Session>(std::move(session));
}

}  // namespace passthroughfs
