// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace passthroughfs::test {

// While one lives, operator new gives this thread nothing. Only in programs that link no_memory.cc.
class NoMemory {
 public:
  NoMemory();
  ~NoMemory();
  NoMemory(const NoMemory&) = delete;
  NoMemory& operator=(const NoMemory&) = delete;
};

}  // namespace passthroughfs::test
