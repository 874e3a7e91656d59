// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace passthroughfs {

enum class HandleMode : std::uint8_t { table, stateless };
enum class IoMode : std::uint8_t { automatic, passthrough, daemon };
enum class TransportMode : std::uint8_t { automatic, uring, dev };
enum class LockMode : std::uint8_t { automatic, source, mount };
enum class JournalMode : std::uint8_t { file, memory, off };
enum class CacheMode : std::uint8_t { normal, none, forever, coherent };

// What a mount is asked to do; filled by the command line, constant afterwards.
struct MountConfig {
  std::string source;      // as given
  std::string mountpoint;  // absolute, resolved
  HandleMode handles = HandleMode::table;
  IoMode io = IoMode::automatic;
  TransportMode transport = TransportMode::automatic;
  CacheMode cache = CacheMode::normal;
  LockMode locks = LockMode::automatic;
  JournalMode journal = JournalMode::file;
  std::string journal_file;  // absolute; empty: one under the state directory, by the source
  bool writeback = false;  // needs cache=forever and the daemon's I/O through handles: preflight()
  unsigned threads = 0;    // 0: one per CPU
  bool read_only = false;
  bool allow_other = false;
  bool allow_root = false;
  bool noatime = false;
  bool nodev = false;
  bool nosuid = false;
  bool noexec = false;
  std::string fsname;                  // empty: the source
  std::string subtype;                 // empty: passthroughfs
  std::uint32_t max_read = 0;          // bytes; 0: max_write
  std::uint32_t max_write = 1U << 20;  // bytes
  bool recover = false;                // survive a crash of the serving process
  unsigned hung_after = 10;            // seconds without an answer that are worth a line; 0: none
  unsigned replace_after = 30;         // seconds without a sign of life of a server; 0: never
  bool trace = false;                  // -d: a line per request
};

// Whether the kernel keeps the locks on files itself: then nobody else sees them, taking one is no
// request, and close has nothing to tell. Without handles nobody else could keep them.
[[nodiscard]] inline bool locks_stay_in_kernel(const MountConfig& config) noexcept {
  if (config.handles == HandleMode::stateless) return true;
  if (config.locks == LockMode::automatic) return config.cache == CacheMode::forever;
  return config.locks == LockMode::mount;
}

}  // namespace passthroughfs
