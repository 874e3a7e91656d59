// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/handover.h"
#include "base/result.h"
#include "changes/change_queries.h"
#include "ops/options.h"
#include "wire/opcode.h"

namespace passthroughfs {

// An open file or directory as `handles` shows it.
struct HandleView {
  std::uint64_t fh = 0;
  std::uint64_t nodeid = 0;
  std::string path;  // relative to the source, as it is now; empty for the root
  bool deleted = false;
  bool directory = false;
  std::uint32_t flags = 0;      // O_* as at open
  const char* io = "daemon";    // "passthrough", "direct"
  std::uint32_t pid = 0;        // as Openers has it
  std::int64_t opened_sec = 0;  // CLOCK_REALTIME
  std::int64_t opened_nsec = 0;
  std::uint64_t reads = 0, writes = 0, bytes_read = 0, bytes_written = 0;
};

struct HandlePage {
  std::vector<HandleView> handles;
  std::uint64_t next = 0;  // the position of the next page; 0: there is none
};

// Latencies fall into bucket floor(log2(nanoseconds)); the last one takes the rest.
inline constexpr std::size_t kLatencyBuckets = 40;

struct OperationView {
  wire::Opcode opcode{};
  std::uint64_t count = 0;
  std::uint64_t errors = 0;
  std::uint64_t total_ns = 0;
  std::array<std::uint64_t, kLatencyBuckets> latency{};
};

struct StatsView {
  std::vector<OperationView> operations;  // those that occurred, by opcode
  std::uint64_t inodes = 0;               // known to the kernel
  std::uint64_t inode_descriptors = 0;    // O_PATH descriptors held
  std::uint64_t descriptor_limit = 0;     // RLIMIT_NOFILE
  std::uint64_t descriptor_budget = 0;    // how many of them inodes may hold
  std::uint64_t evictions = 0;            // descriptors replaced by file handles so far
  std::uint64_t restores = 0;             // and opened again
  std::uint64_t handles = 0;              // open files and directories
  std::uint64_t lock_waiters = 0;
  std::uint64_t hung_requests = 0;  // without an answer for longer than hung_after
  std::uint64_t table_bytes = 0;    // memory of the inode and handle tables
  unsigned workers = 0;
  unsigned overflow_threads = 0;
  std::string transport;     // "uring", "dev"
  std::string handles_mode;  // "table" or "stateless"
  std::string io;            // what `auto` came to: "daemon"
  std::string io_reason;     // why not more; may be empty
  std::string cache;
  bool writeback = false;
  std::string locks;          // "source" or "mount": who keeps them
  std::string journal;        // "file", "memory", "off": where changes are recorded
  bool source_known = false;  // changes while nothing is mounted will be told
  // What was lost when all processes were gone, and how often that was.
  std::uint64_t revivals = 0, lost_files = 0, lost_locks = 0, lost_inodes = 0;
  std::uint64_t unsaved_inodes = 0;  // that would be lost if it came to that now
  std::vector<std::string> notes;    // degraded modes, one line each
};

// Serves one mount from the INIT handshake to the unmount. Thread-safe after start().
class Session {
 public:
  // Opens the source before anything is mounted. `message`: one line for the user on failure, whose
  // errno is what the system call said.
  // `from`: another program has served this mount; go_on() follows instead of connect(). Nothing
  // that it has left is changed before serve(). EPROTO, EUCLEAN: it has left something else.
  static Result<std::unique_ptr<Session>> create(const MountConfig& config, std::string& message,
                                                 const Handover* from = nullptr);
  virtual ~Session() = default;

  // Takes the mounted /dev/fuse descriptor and answers INIT. Starts no thread.
  virtual Result<void> connect(UniqueFd device, std::string& message) = 0;

  // Takes the connection that another program has handed over. EPROTO: it has not.
  virtual Result<void> go_on(const Handover& from, std::string& message) = 0;
  // After go_on(), if no process of the mount was left that had descriptors open, before anybody
  // serves. May be repeated. EUCLEAN: what was left is damaged, or another source's.
  virtual Result<void> revive(std::string& message) = 0;
  // Notes what another program needs to go on. With recover=on, after connect() or go_on().
  virtual void hand_over(Handover& handover) const = 0;

  // After connect() or go_on(): whether the kernel still knows the connection. Until it has ended
  // no other mount has the number of this one's device.
  [[nodiscard]] virtual bool is_connected() const noexcept = 0;

  // In a process whose child has served with what this one has made: gives back what is not memory
  // or a descriptor. The tables must not be destroyed after that, they have pointers of the
  // child's.
  virtual void leave() noexcept = 0;

  // After connect(), with recover=on: whether the kernel sends unanswered requests again. If not,
  // nobody is to take over from this process.
  [[nodiscard]] virtual bool can_be_recovered() const = 0;

  // How a process comes to serve. Without recover=on only the first is possible.
  struct Takeover {
    bool again = false;                // another process has served before, and has died
    std::int64_t died = 0;             // when, nanoseconds of CLOCK_MONOTONIC; 0: not known
    std::span<const int> descriptors;  // that are to stay open whatever the tables say, sorted
    // Called so often by one thread, as long as the others get somewhere or wait for the source:
    // not if they wait for each other only. Empty: never.
    std::function<void()> beat;
    std::chrono::nanoseconds beat_every{0};
    std::function<void(bool)> dropping;  // see Dropping in notifier.h
    bool outlives_all = false;  // what revive() needs is kept elsewhere, should all processes die
  };
  // Starts the workers and returns when the mount serves requests. EUCLEAN: what the other process
  // has left is damaged.
  virtual Result<void> serve(const Takeover& takeover, std::string& message) = 0;
  // Both, in one process.
  Result<void> start(UniqueFd device, std::string& message) {
    TRY(connect(std::move(device), message));
    return serve({}, message);
  }

  // Reads no more requests, and waits until those that were read are over, at most so long; what is
  // not by then the kernel sends again to who takes over. False: some are not. The process is to
  // end by _exit() then.
  virtual bool drain(std::chrono::milliseconds most) = 0;

  // Waits until the mount is gone (unmounted by anyone, or connection aborted), ends and joins
  // every thread and closes everything. The result is an error only for an end that was not
  // orderly.
  virtual Result<void> wait() = 0;

  // The source's root type bits for MountOptions, and the mount flags that the source's own mount
  // imposes (nosuid, nodev, noexec, ro: ST_* of statvfs).
  [[nodiscard]] virtual unsigned root_mode() const = 0;
  [[nodiscard]] virtual unsigned long source_mount_flags() const = 0;

  // Some of what is open, from a position on, as HandleTable::for_some().
  [[nodiscard]] virtual HandlePage handles(std::uint64_t position, std::size_t most) const = 0;
  [[nodiscard]] virtual StatsView stats() const = 0;
  [[nodiscard]] virtual const MountConfig& config() const = 0;
  // The record of changes; nullptr: journal=off. Lives as long as the session.
  [[nodiscard]] virtual ChangeQueries* changes() const = 0;
};

// Makes the process fit to serve: raises RLIMIT_NOFILE, umask 0, drops supplementary groups and
// capabilities that are never needed. Call once, before threads exist and after mounting.
void prepare_process();

}  // namespace passthroughfs
