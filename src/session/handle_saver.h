// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <thread>

#include "base/mutex.h"
#include "base/result.h"
#include "table/inode_table.h"

namespace passthroughfs {

// A thread that saves the file handles of inodes that became known: so that they are found again
// when everything that had descriptors of them is gone, and no request has to do it.
class HandleSaver {
 public:
  // `inodes` must outlive this.
  explicit HandleSaver(InodeTable& inodes) noexcept : inodes_(inodes) {}
  ~HandleSaver();
  HandleSaver(const HandleSaver&) = delete;
  HandleSaver& operator=(const HandleSaver&) = delete;

  // EAGAIN: no thread.
  Result<void> start();

 private:
  void run() noexcept;

  InodeTable& inodes_;
  Mutex mutex_;
  ConditionVariable changed_;
  bool stopping_ PFS_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace passthroughfs
