// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <ctime>
#include <optional>

#include "base/fd.h"
#include "base/mutex.h"
#include "table/inode_table.h"

namespace passthroughfs {

// Times of files whose writes the kernel gathers (option writeback).
//
// The kernel moves mtime itself, when a program writes, and sends it when it sees fit. What it
// gathered arrives later and would move the source's mtime once more, to a moment when nobody
// wrote. The kernel need not send its own time after that: it does not when a write fell into the
// clock tick of the time that it knew already. So page writeback leaves mtime as it was.
//
// Thread-safe: one lock of a few per inode, held over the system calls.
class FileTimes {
 public:
  Mutex& of(NodeId node) noexcept { return mutexes_[node % mutexes_.size()]; }

 private:
  std::array<Mutex, 64> mutexes_;
};

// Puts mtime back when it goes. Errors are not reported: the source may refuse it (immutable and
// append-only files, another user's file), and the time of writeback stands then.
class KeptModificationTime {
 public:
  KeptModificationTime(FileTimes& times, NodeId node, BorrowedFd fd) noexcept;
  ~KeptModificationTime();
  KeptModificationTime(const KeptModificationTime&) = delete;
  KeptModificationTime& operator=(const KeptModificationTime&) = delete;

 private:
  const MutexLock lock_;
  const BorrowedFd fd_;
  std::optional<timespec> mtime_;
};

}  // namespace passthroughfs
