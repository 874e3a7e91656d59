// SPDX-License-Identifier: Apache-2.0
#include "control/session_target.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "passthroughfs/version.h"

namespace passthroughfs {
namespace {

struct FlagName {
  std::uint32_t bits;
  const char* name;
};

// O_SYNC contains O_DSYNC and O_TMPFILE contains O_DIRECTORY: the wider one comes first.
constexpr auto kFlagNames = std::to_array<FlagName>({
    {O_CREAT, "O_CREAT"},
    {O_EXCL, "O_EXCL"},
    {O_NOCTTY, "O_NOCTTY"},
    {O_TRUNC, "O_TRUNC"},
    {O_APPEND, "O_APPEND"},
    {O_NONBLOCK, "O_NONBLOCK"},
    {O_SYNC, "O_SYNC"},
    {O_DSYNC, "O_DSYNC"},
    {O_ASYNC, "O_ASYNC"},
    {O_DIRECT, "O_DIRECT"},
    {O_TMPFILE, "O_TMPFILE"},
    {O_DIRECTORY, "O_DIRECTORY"},
    {O_NOFOLLOW, "O_NOFOLLOW"},
    {O_NOATIME, "O_NOATIME"},
    {O_CLOEXEC, "O_CLOEXEC"},
    {O_PATH, "O_PATH"},
});

// What open(2) adds for 64-bit programs (its number here, not this program's macro, which is 0),
// and the kernel's own FMODE_EXEC: of no interest to anybody.
constexpr std::uint32_t kLargeFile = 0100000;
constexpr std::uint32_t kFmodeExec = 0x20;

}  // namespace

std::vector<std::string> open_flag_names(std::uint32_t flags) {
  std::vector<std::string> names;
  switch (flags & O_ACCMODE) {
    case O_RDONLY: names.emplace_back("O_RDONLY"); break;
    case O_WRONLY: names.emplace_back("O_WRONLY"); break;
    case O_RDWR: names.emplace_back("O_RDWR"); break;
    default: names.emplace_back("O_ACCMODE");
  }
  flags &= ~(std::uint32_t{O_ACCMODE} | kLargeFile | kFmodeExec);
  for (const FlagName& flag : kFlagNames) {
    if ((flags & flag.bits) != flag.bits) continue;
    names.emplace_back(flag.name);
    flags &= ~flag.bits;
  }
  if (flags != 0) names.push_back(fmt::format("0{:o}", flags));
  return names;
}

Outcome<void> SessionTarget::prepare_upgrade(UniqueFd program, const std::string& layout) {
  if (!processes_.prepare_upgrade || !processes_.upgrade) {
    return Error{EOPNOTSUPP, "this mount cannot be upgraded"};
  }
  return processes_.prepare_upgrade(std::move(program), layout);
}

OpenFilePage SessionTarget::handles(std::uint64_t position, std::size_t most) const {
  const HandlePage views = session_.handles(position, most);
  OpenFilePage page;
  page.next = views.next;
  for (const HandleView& view : views.handles) {
    OpenFileInfo& file = page.files.emplace_back();
    file.fh = view.fh;
    file.path = view.path.empty() ? "." : view.path;
    file.flags = open_flag_names(view.flags | (view.directory ? O_DIRECTORY : 0U));
    file.nodeid = view.nodeid;
    file.io = view.io;
    file.pid = view.pid;
    file.opened = std::chrono::system_clock::time_point(
        std::chrono::duration_cast<std::chrono::system_clock::duration>(
            std::chrono::seconds(view.opened_sec) + std::chrono::nanoseconds(view.opened_nsec)));
    file.reads = view.reads;
    file.writes = view.writes;
    file.bytes_read = view.bytes_read;
    file.bytes_written = view.bytes_written;
    file.deleted = view.deleted;
  }
  return page;
}

Statistics SessionTarget::stats() const {
  const StatsView view = session_.stats();
  Statistics stats;
  for (const OperationView& operation : view.operations) {
    OperationStatistics& row = stats.operations.emplace_back();
    row.name = wire::opcode_name(operation.opcode);
    row.count = operation.count;
    row.errors = operation.errors;
    row.total_ns = operation.total_ns;
    row.latency.assign(operation.latency.begin(), operation.latency.end());
    while (!row.latency.empty() && row.latency.back() == 0) row.latency.pop_back();
  }
  stats.inodes = view.inodes;
  stats.inode_descriptors = view.inode_descriptors;
  stats.descriptor_budget = view.descriptor_budget;
  stats.descriptor_limit = view.descriptor_limit;
  stats.evictions = view.evictions;
  stats.restores = view.restores;
  stats.handles = view.handles;
  stats.lock_waiters = view.lock_waiters;
  stats.hung_requests = view.hung_requests;
  stats.revivals = view.revivals;
  stats.lost_files = view.lost_files;
  stats.lost_locks = view.lost_locks;
  stats.lost_inodes = view.lost_inodes;
  stats.unsaved_inodes = view.unsaved_inodes;
  stats.table_bytes = view.table_bytes;
  stats.workers = view.workers;
  stats.overflow_threads = view.overflow_threads;
  stats.transport = view.transport;
  stats.handles_mode = view.handles_mode;
  stats.io = view.io;
  stats.io_reason = view.io_reason;
  stats.cache = view.cache;
  stats.writeback = view.writeback;
  stats.journal = view.journal;
  stats.source_known = view.source_known;
  stats.locks = view.locks;
  stats.notes = view.notes;
  stats.server_pid = static_cast<std::uint32_t>(getpid());
  if (processes_.add_to_stats) processes_.add_to_stats(stats);
  return stats;
}

MountInfo SessionTarget::info() const {
  const MountConfig& config = session_.config();
  MountInfo info{.source = config.source,
                 .mountpoint = config.mountpoint,
                 .version = PASSTHROUGHFS_VERSION,
                 .pid = static_cast<std::uint32_t>(getpid())};
  if (processes_.add_to_info) processes_.add_to_info(info);
  return info;
}

}  // namespace passthroughfs
