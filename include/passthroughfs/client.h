// SPDX-License-Identifier: Apache-2.0
//
// Asks the daemon of a running mount, through its control socket.
//
//   auto client = passthroughfs::Client::connect("/mnt/data");
//   if (!client) return fail(client.error().message);
//   auto files = client->handles();
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "passthroughfs/changes.h"
#include "passthroughfs/result.h"

namespace passthroughfs {

// An open file or directory of the mount.
struct OpenFileInfo {
  std::uint64_t fh = 0;            // never used twice in the life of a mount
  std::string path;                // relative to the source, as it is now; any bytes but NUL
  std::vector<std::string> flags;  // "O_RDWR", ... as at open
  std::uint64_t nodeid = 0;
  // Where its data goes now: "passthrough" (the kernel), "daemon", or "direct" (the daemon, with
  // O_DIRECT).
  std::string io;
  // The process that opened it; the number of the thread if that one has ended; 0: in a pid
  // namespace that the daemon does not see.
  std::uint32_t pid = 0;
  std::chrono::system_clock::time_point opened;
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
  bool deleted = false;  // has no name any more
};

struct OperationStatistics {
  std::string name;  // "LOOKUP"
  std::uint64_t count = 0;
  std::uint64_t errors = 0;
  std::uint64_t total_ns = 0;
  // How many took 2^i to 2^(i+1) nanoseconds.
  std::vector<std::uint64_t> latency;

  // Estimated from the buckets, in nanoseconds: for 0.99, 99 % took no longer. 0 without requests.
  [[nodiscard]] PASSTHROUGHFS_EXPORT double percentile_ns(double fraction) const;
  // Upper bound of the slowest.
  [[nodiscard]] PASSTHROUGHFS_EXPORT double max_ns() const;
};

struct Statistics {
  std::vector<OperationStatistics> operations;  // those that occurred
  std::uint64_t inodes = 0;                     // known to the kernel
  std::uint64_t inode_descriptors = 0;          // held for them
  std::uint64_t descriptor_budget = 0;          // how many they may hold
  std::uint64_t descriptor_limit = 0;           // of the process
  std::uint64_t evictions = 0;                  // descriptors replaced by file handles so far
  std::uint64_t restores = 0;                   // and opened again
  std::uint64_t handles = 0;                    // open files and directories
  std::uint64_t lock_waiters = 0;
  std::uint64_t table_bytes = 0;  // memory of the inode and handle tables
  std::uint32_t workers = 0;
  std::uint32_t overflow_threads = 0;
  std::string transport;     // "uring", "dev"
  std::string handles_mode;  // "table", "stateless"
  std::string io;            // what io=auto came to
  std::string io_reason;     // why not more; may be empty
  std::string cache;
  bool writeback = false;           // the kernel gathers writes (option writeback)
  std::string journal;              // where changes are recorded: "file", "memory", "off"
  bool source_known = false;        // changes while nothing is mounted will be told
  bool recover = false;             // a crash of the server does not end the mount
  std::uint32_t guardian_pid = 0;   // with recover: who starts the next server
  std::uint32_t server_pid = 0;     // who serves
  std::uint64_t server_starts = 1;  // how many servers there were, this one included
  std::uint64_t last_pause_ns = 0;  // from the last one's death until this one served
  std::uint32_t deputy_pid = 0;     // with recover: who takes the guardian's place if it is killed
  std::uint64_t upgrades = 0;       // how often another program took over (Client::upgrade)
  std::string upgrade_failure;      // why the last one that tried did not; empty: it did
  std::uint64_t hung_requests = 0;  // without an answer for longer than hung_after
  std::string locks;                // who keeps locks on files: "source", "mount"
  // The service manager has what is needed to go on if all processes are gone; how often that was,
  // and what was lost then, in all. unsaved_inodes: would be lost if it was now.
  bool kept_by_manager = false;
  std::uint64_t revivals = 0;
  std::uint64_t lost_files = 0;  // open ones
  std::uint64_t lost_locks = 0;  // owners of locks
  std::uint64_t lost_inodes = 0;
  std::uint64_t unsaved_inodes = 0;
  std::vector<std::string> notes;  // degraded modes, one line each
};

struct MountInfo {
  std::string source;
  std::string mountpoint;
  std::string version;    // of the daemon
  std::uint32_t pid = 0;  // of the daemon
};

// One connection. Calls block until the daemon has answered, at most for the timeout. Thread-safe
// as long as each object is used by one thread at a time. Move-only.
class PASSTHROUGHFS_EXPORT Client {
 public:
  // Finds the socket from the mount point; never waits for the mounted file system itself. Errors:
  // ENOENT, ENOTDIR, EACCES (path); EINVAL (not a mount point); ENOTTY (not a passthroughfs mount);
  // EPERM (mounted by another user); ECONNREFUSED (the daemon is dead); ETIMEDOUT.
  static Outcome<Client> connect(const std::string& mountpoint,
                                 std::chrono::milliseconds timeout = std::chrono::seconds(10));
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  // Errors of all: ETIMEDOUT, EPIPE (the daemon has ended), EPROTO (not understood), and what the
  // daemon says.
  Outcome<std::vector<OpenFileInfo>> handles();
  // The same without keeping them all in memory, for mounts where a million files may be open:
  // `visit` is called for each, on this thread. It is not a moment's picture, but what is open
  // throughout is visited once. After an error some may have been visited already.
  Outcome<void> visit_handles(const std::function<void(const OpenFileInfo&)>& visit);
  Outcome<Statistics> stats();
  Outcome<MountInfo> info();
  // Asks the daemon to unmount and end, as SIGTERM would.
  Outcome<void> unmount();

  // Lets another program serve the mount from now on, without an end for those who use it: the file
  // behind `program`, a descriptor that stays the caller's, whose tables have `layout`. Returns
  // when it serves. Errors before anything has stopped: EOPNOTSUPP (recover=off), EPROTO (other
  // layout), ENOEXEC (it says that it cannot, or nothing), EBUSY (the mount ends, or another such
  // call is under way). ECANCELED: it could not serve in the end, and the program before it goes
  // on. ETIMEDOUT.
  Outcome<void> upgrade(int program, const std::string& layout);

  // The record of changes. These calls wait as long as the daemon needs: right after the mount was
  // made it may be comparing the source with what it knew. Further errors: EOPNOTSUPP: the mount
  // keeps no record (journal=off); EINVAL: no token, or one of another journal; ENOENT: a token
  // whose record has been given up; EBUSY: too many such calls at once.

  // A token that names this moment.
  Outcome<std::string> checkpoint();
  // Gives up what is needed only for tokens older than this one.
  Outcome<void> forget_before(const std::string& token);
  // The net difference between a token's moment (none: when the mount was made) and now. `renames`:
  // false: what is below a renamed directory is spelled out as deleted and created.
  Outcome<ChangeReport> changes(const std::optional<std::string>& since, bool renames = true);
  // The same without keeping all in memory: `visit` is called for each, on this thread; the report
  // has none. After an error some may have been visited already.
  Outcome<ChangeReport> visit_changes(const std::optional<std::string>& since, bool renames,
                                      const std::function<void(const Change&)>& visit);
  // Changes as they happen, until `visit` gives false or the mount ends (EPIPE): each line as
  // `passthroughfs watch` prints it (see there), without the newline. The first says from which
  // token on.
  Outcome<void> watch(const std::optional<std::string>& since,
                      const std::function<bool(const std::string& line)>& visit);

  // A process id as this process sees it, from the socket; 0 when it sees none.
  [[nodiscard]] int daemon_pid() const noexcept;

 private:
  class Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace passthroughfs
