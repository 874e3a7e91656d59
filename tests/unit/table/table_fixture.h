// SPDX-License-Identifier: Apache-2.0
//
// A source directory with an inode table over it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>

#include "source/source_tree.h"
#include "source/sys.h"
#include "support/temp_tree.h"
#include "table/fd_budget.h"
#include "table/inode_table.h"

namespace passthroughfs::test {

// How many descriptors this process has open.
std::size_t open_descriptors();

// The RLIMIT_NOFILE that leaves inodes the least possible budget: 16 descriptors and half of a
// reserve of 64.
inline constexpr std::uint64_t kTinyLimit = 80;

// An inode table over a fresh directory, without a kernel: what a mount would do is called
// directly.
class TableTree {
 public:
  explicit TableTree(std::uint64_t descriptor_limit = 4096,
                     TempTree::Medium medium = TempTree::Medium::kDisk,
                     std::uint32_t capacity = 1U << 20);

  [[nodiscard]] std::string path(std::string_view name) const { return tree_ / name; }
  void make_file(const std::string& name) const;
  // file0, file1, ...
  void make_files(int count) const;
  static std::string file(int number) { return "file" + std::to_string(number); }

  [[nodiscard]] InodeTable& inodes() { return *inodes_; }
  [[nodiscard]] FdBudget& budget() { return budget_; }
  [[nodiscard]] SourceTree& source() { return *source_; }

  // What a LOOKUP does: opens the child, asks for its identity, and finds or adds it.
  Result<InodeRef> look_up(const std::string& name);
  // The same, for its number alone.
  NodeId node(const std::string& name);
  // The inode number of the file on the source that a reference leads to now.
  static std::uint64_t ino_of(const InodeRef& inode);
  std::uint64_t ino_of(const std::string& name) const;

  // Whether descriptors can be replaced by file handles here: root, and a file system that has
  // them.
  [[nodiscard]] bool can_evict();
  // Looks up files of its own until `inode` has given up its descriptor. False when it does not.
  bool evict(NodeId id);

 private:
  TempTree tree_;
  FdBudget budget_;
  std::unique_ptr<SourceTree> source_;
  std::unique_ptr<InodeTable> inodes_;
};

}  // namespace passthroughfs::test

#define PFS_NEEDS_HANDLES_OF(table)                                                  \
  if (!(table).can_evict()) {                                                        \
    GTEST_SKIP() << "needs CAP_DAC_READ_SEARCH and a file system with file handles"; \
  }
