// SPDX-License-Identifier: Apache-2.0
//
// Open files that are there while others are measured.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace passthroughfs::bench {

// A thousand files below a directory of its own, open `count` times in all, so that the number of
// open files grows and the number of known files does not. Helper processes hold them, as many as
// the limit of descriptors of one process asks for; they end with this object, and with this
// process however it ends.
class HeldFiles {
 public:
  HeldFiles(const std::string& dir, std::uint64_t count);
  HeldFiles(const HeldFiles&) = delete;
  HeldFiles& operator=(const HeldFiles&) = delete;
  ~HeldFiles();

 private:
  [[nodiscard]] std::string path(std::uint64_t i) const;
  [[noreturn]] void hold(std::uint64_t first, std::uint64_t count, int ready, int end) const;

  std::string dir_;
  std::uint64_t files_ = 0;
  std::vector<pid_t> holders_;
  int keep_ = -1;  // the helpers end when nobody has this open any more
};

}  // namespace passthroughfs::bench
