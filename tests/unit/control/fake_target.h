// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <string>

#include "control/target.h"

namespace passthroughfs::test {

// A mount that is none.
class FakeTarget : public ControlTarget {
 public:
  [[nodiscard]] OpenFilePage handles(std::uint64_t position, std::size_t most) const override {
    OpenFilePage page;
    for (auto i = static_cast<std::size_t>(position); i < count() && page.files.size() < most;
         ++i) {
      page.files.push_back(file_at(i));
    }
    const std::size_t next = static_cast<std::size_t>(position) + page.files.size();
    page.next = next < count() ? next : 0;
    largest_page = std::max(largest_page, page.files.size());
    return page;
  }
  [[nodiscard]] Statistics stats() const override { return statistics; }
  [[nodiscard]] MountInfo info() const override {
    return {.source = "/source", .mountpoint = "/mnt", .version = "9.8.7", .pid = 77};
  }
  [[nodiscard]] ChangeQueries* changes() const override { return queries; }
  Outcome<void> request_unmount() override {
    if (refuse_unmount) return Error{EBUSY, "it is busy"};
    ++unmounts;
    return {};
  }

  Outcome<void> prepare_upgrade(UniqueFd program, const std::string& layout) override {
    if (!program.valid()) return Error{EINVAL, "no program"};
    if (layout != "mine") return Error{EPROTO, "another layout"};
    return {};
  }
  void upgrade() override { ++upgrades; }

  std::atomic<int> upgrades = 0;
  // `files`, or so many made up ones.
  std::vector<OpenFileInfo> files;
  std::size_t made_up = 0;
  mutable std::size_t largest_page = 0;
  Statistics statistics;
  bool refuse_unmount = false;
  ChangeQueries* queries = nullptr;
  std::atomic<int> unmounts = 0;

 private:
  [[nodiscard]] std::size_t count() const { return made_up != 0 ? made_up : files.size(); }
  [[nodiscard]] OpenFileInfo file_at(std::size_t i) const {
    if (made_up == 0) return files[i];
    OpenFileInfo file;
    file.fh = i + 1;
    file.path = "some/directory/file" + std::to_string(i);
    file.flags = {"O_RDONLY"};
    file.io = "daemon";
    return file;
  }
};

}  // namespace passthroughfs::test
