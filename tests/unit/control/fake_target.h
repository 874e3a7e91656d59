// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

#include "control/target.h"

namespace passthroughfs::test {

// A mount that is none.
class FakeTarget : public ControlTarget {
 public:
  [[nodiscard]] std::vector<OpenFileInfo> handles() const override { return files; }
  [[nodiscard]] Statistics stats() const override { return statistics; }
  [[nodiscard]] MountInfo info() const override {
    return {.source = "/source", .mountpoint = "/mnt", .version = "9.8.7", .pid = 77};
  }
  Outcome<void> request_unmount() override {
    if (refuse_unmount) return Error{EBUSY, "it is busy"};
    ++unmounts;
    return {};
  }

  std::vector<OpenFileInfo> files;
  Statistics statistics;
  bool refuse_unmount = false;
  std::atomic<int> unmounts = 0;
};

}  // namespace passthroughfs::test
