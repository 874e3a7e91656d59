// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/loop_image.h"

namespace passthroughfs::test {

// A source on which every write waits until it is thawed, and nothing else does.
class FrozenSource {
 public:
  FrozenSource() {
    if (image_.ok()) {
      root_ = UniqueFd(open(image_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    }
  }
  ~FrozenSource() {
    thaw();
    root_.reset();
  }
  FrozenSource(const FrozenSource&) = delete;
  FrozenSource& operator=(const FrozenSource&) = delete;

  bool ok() const { return root_.valid(); }
  const std::string& path() const { return image_.path(); }
  void freeze() {
    ASSERT_EQ(ioctl(root_.get(), FIFREEZE, 0), 0);
    frozen_ = true;
  }
  void thaw() {
    if (std::exchange(frozen_, false)) {
      EXPECT_EQ(ioctl(root_.get(), FITHAW, 0), 0);
    }
  }

 private:
  LoopImage image_{64 << 20, {"mkfs.ext4", "-q", "-F"}};
  UniqueFd root_;
  bool frozen_ = false;
};

}  // namespace passthroughfs::test
