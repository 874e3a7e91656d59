// SPDX-License-Identifier: Apache-2.0
//
// A mount of which nothing was left but the connection and the memory of its tables: every process
// is gone, and so is every descriptor that the tables tell of.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "ops/mount_state.h"

namespace passthroughfs {

// What has become of it, in memory that outlives the process.
struct RevivalRecord {
  std::atomic<std::uint64_t> revivals;  // begun
  std::atomic<std::uint32_t> to_do;     // the open files and locks are not there again yet
  std::atomic<std::uint64_t> lost_files, lost_locks;
  std::atomic<std::uint64_t> lost_inodes;  // the last time
};

// By who takes the tables over, before any server is started: no record tells of a descriptor any
// more. May be repeated. EUCLEAN: the tables are not this source's. `message`: one line.
Result<void> begin_revival(MountState& state, RevivalRecord& record, std::string& message);

// By a server, with the tables recovered and nobody else at work: opens open files again and takes
// their locks. What cannot be had is counted, told in one line of the log, and answers an error
// from now on. If the process dies meanwhile the next one goes on with it. std::bad_alloc.
void revive_open_files(MountState& state, RevivalRecord& record);

}  // namespace passthroughfs
