// SPDX-License-Identifier: Apache-2.0
//
// A disk file system of a test's own, in an image file on a loop device.
#pragma once

#include <string>
#include <vector>

#include "support/temp_tree.h"

namespace passthroughfs::test {

// Makes a sparse image, a file system on it with `mkfs` (a command, to which the image is added)
// and mounts it with `options`. Unmounted and removed with the object. ok() is false, and nothing
// has failed, when there is no such program, file system or loop device; why() says what was said.
class LoopImage {
 public:
  LoopImage(std::size_t bytes, std::vector<std::string> mkfs,
            const std::string& options = "noatime");
  ~LoopImage();
  LoopImage(const LoopImage&) = delete;
  LoopImage& operator=(const LoopImage&) = delete;

  bool ok() const { return !path_.empty(); }
  const std::string& why() const { return why_; }
  // The mounted root directory.
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  // "/dev/loop0"
  std::string device() const;

 private:
  TempTree tree_;
  std::string path_, why_;
};

}  // namespace passthroughfs::test
