// SPDX-License-Identifier: Apache-2.0
//
// A source whose room, inodes and numbers nobody else uses.
#pragma once

#include <sys/mount.h>

#include <string>

#include <gtest/gtest.h>

#include "support/temp_tree.h"

namespace passthroughfs::test {

// A tmpfs of its own, with these options of tmpfs(5); needs root. It goes away with the object,
// also when something is still mounted over it.
class SmallSource {
 public:
  explicit SmallSource(const char* options) : path_(tree_.make_dir("small")) {
    EXPECT_EQ(::mount("small", path_.c_str(), "tmpfs", 0, options), 0);
  }
  const std::string& path() const { return path_; }

 private:
  TempTree tree_;
  std::string path_;
};

}  // namespace passthroughfs::test
