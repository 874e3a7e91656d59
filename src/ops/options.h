// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace passthroughfs {

enum class HandleMode : std::uint8_t { table, stateless };
enum class IoMode : std::uint8_t { automatic, passthrough, daemon };
enum class TransportMode : std::uint8_t { automatic, uring, dev };
enum class CacheMode : std::uint8_t { normal, none, forever, coherent };

// What a mount is asked to do; filled by the command line, constant afterwards.
struct MountConfig {
  std::string source;      // as given
  std::string mountpoint;  // absolute, resolved
  HandleMode handles = HandleMode::table;
  IoMode io = IoMode::automatic;
  TransportMode transport = TransportMode::automatic;
  CacheMode cache = CacheMode::normal;
  unsigned threads = 0;  // 0: one per CPU
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
  bool trace = false;                  // -d: a line per request
};

}  // namespace passthroughfs
