// SPDX-License-Identifier: Apache-2.0
//
// What a session shows of itself: open files, and statistics.
#include <array>
#include <cstddef>
#include <string>
#include <utility>

#include "session/openers.h"
#include "session/session_impl.h"

namespace passthroughfs {
namespace {

const char* cache_name(CacheMode mode, bool watched) {
  switch (mode) {
    case CacheMode::none: return "none";
    case CacheMode::forever: return "forever";
    case CacheMode::coherent: return watched ? "coherent" : "normal";
    case CacheMode::normal: break;
  }
  return "normal";
}

}  // namespace

HandlePage SessionImpl::handles(std::uint64_t position, std::size_t most) const {
  HandlePage out;
  Openers openers;
  out.next =
      state_.handles->for_some(position, most, [&](std::uint64_t fh, const HandleRef& handle) {
        HandleView& view = out.handles.emplace_back();
        view.fh = fh;
        view.nodeid = handle->node;
        if (handle.fd().valid()) {
          view.path = state_.source.path_of(handle.fd(), view.deleted);
        } else if (auto inode = state_.inodes->get(handle->node)) {
          view.path = state_.source.path_of(inode->fd(), view.deleted);
        }
        view.io = handle->io == HandleIo::passthrough                   ? "passthrough"
                  : handle->direct.load(std::memory_order_relaxed) != 0 ? "direct"
                                                                        : "daemon";
        view.directory = handle->kind == HandleKind::directory;
        view.flags = handle->flags;
        view.pid = openers.process_of(handle->pid, handle->opened_boot_ns);
        view.opened_sec = handle->opened_sec;
        view.opened_nsec = handle->opened_nsec;
        view.reads = handle->reads.load(std::memory_order_relaxed);
        view.writes = handle->writes.load(std::memory_order_relaxed);
        view.bytes_read = handle->bytes_read.load(std::memory_order_relaxed);
        view.bytes_written = handle->bytes_written.load(std::memory_order_relaxed);
      });
  return out;
}

StatsView SessionImpl::stats() const {
  StatsView out;
  if (pool_) {
    std::array<OperationView, wire::kOpcodeCount> views{};
    pool_->add_statistics(views);
    for (std::size_t opcode = 0; opcode < views.size(); ++opcode) {
      if (views[opcode].count == 0) continue;
      views[opcode].opcode = static_cast<wire::Opcode>(opcode);
      out.operations.push_back(views[opcode]);
    }
    out.workers = pool_->workers();
    out.overflow_threads = pool_->overflow_threads();
  }
  out.inodes = state_.inodes->known();
  out.inode_descriptors = state_.budget.held();
  out.descriptor_limit = state_.budget.limit();
  out.descriptor_budget = state_.budget.budget();
  out.evictions = state_.inodes->evictions();
  out.restores = state_.inodes->restores();
  out.handles = state_.handles->open_count();
  out.lock_waiters = state_.locks.waiting();
  out.unsaved_inodes = state_.inodes->unsaved();
  if (const Continued* const kept = continued()) {
    out.revivals = kept->revival.revivals.load();
    out.lost_files = kept->revival.lost_files.load();
    out.lost_locks = kept->revival.lost_locks.load();
    out.lost_inodes = kept->revival.lost_inodes.load();
  }
  if (watchdog_) {
    auto hung = watchdog_->hung();
    out.hung_requests = hung.count;
    if (hung.count != 0) out.notes.push_back(std::move(hung.note));
  }
  out.table_bytes = state_.inodes->memory_bytes() + state_.handles->memory_bytes();
  out.transport = channel_ ? channel_->name() : "dev";
  out.handles_mode = state_.config.handles == HandleMode::table ? "table" : "stateless";
  out.io = state_.backings.enabled() ? "passthrough" : "daemon";
  out.io_reason = state_.backings.reasons();
  out.cache = cache_name(state_.config.cache, state_.coherence.covers(state_.source.root_device()));
  out.writeback = state_.config.writeback;
  out.journal = !state_.journal ? "off" : state_.journal->file().empty() ? "memory" : "file";
  out.source_known = state_.journal && state_.journal->knows_source();
  out.locks = locks_stay_in_kernel(state_.config) ? "mount" : "source";
  if (state_.config.locks == LockMode::source && locks_stay_in_kernel(state_.config)) {
    out.notes.emplace_back("locks=source needs handles=table: locks are seen on this mount only");
  }
  if (!no_journal_file_.empty()) {
    out.notes.push_back("changes are recorded in memory only: " + no_journal_file_);
  }
  if (state_.journal) {
    if (std::string trouble = state_.journal->trouble(); !trouble.empty()) {
      out.notes.push_back(std::move(trouble));
    }
  }
  if (!no_rings_.empty()) out.notes.push_back("not over io_uring: " + no_rings_);
  if (watch_) {
    if (const std::string why = watch_->obstacle(); !why.empty()) {
      out.notes.push_back("cache=coherent: serving with normal: " + why);
    } else if (state_.coherence.covers(state_.source.root_device()) &&
               !state_.coherence.covers_names(state_.source.root_device())) {
      out.notes.emplace_back(
          "cache=coherent: names are believed for 1 s: this kernel cannot drop "
          "all of them at once");
    }
  }
  return out;
}

}  // namespace passthroughfs
