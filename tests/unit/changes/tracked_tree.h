// SPDX-License-Identifier: Apache-2.0
//
// A source with a journal over it, without a kernel: operations tell their changes and make them.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "changes/journal.h"
#include "support/temp_tree.h"
#include "table/fd_budget.h"

namespace passthroughfs::test {

class TrackedTree {
 public:
  // `journal_file`: whether it is a file, which outlives restart() and kill(). `background`: false:
  // until restart() or kill() the journal works only when it is asked, and walks through nothing.
  explicit TrackedTree(bool journal_file = true, TempTree::Medium medium = TempTree::Medium::kDisk,
                       bool background = true);
  ~TrackedTree();

  [[nodiscard]] std::string path(const std::string& name) const;
  [[nodiscard]] std::string journal_file() const { return tree_ / "journal"; }
  [[nodiscard]] ChangeJournal& journal() { return *journal_; }
  [[nodiscard]] InodeTable& inodes() { return *inodes_; }

  // Through the "mount". Names are paths below the source. False: the system call failed.
  bool create(const std::string& name, const std::string& content = "");
  bool mkdir(const std::string& name);
  bool write(const std::string& name, const std::string& content);
  bool remove(const std::string& name);
  bool rename(const std::string& from, const std::string& to, unsigned flags = 0);
  bool link(const std::string& from, const std::string& to);
  bool chmod(const std::string& name, mode_t mode);

  // A file that is open in passthrough: the kernel writes it, nobody is told.
  void opens(const std::string& name, bool mappable);

  // Clean: the journal is closed and opened again.
  void restart();
  // As after SIGKILL: nothing is closed. `lose_log`: as after a power loss.
  void kill(bool lose_log = false);

  [[nodiscard]] std::string checkpoint();
  // "kinds path" (renames: "renamed old -> new") by path; kinds joined by commas.
  [[nodiscard]] std::map<std::string, std::string> since(const std::optional<std::string>& token,
                                                         bool renames = true);
  ChangeReport report(const std::optional<std::string>& token, bool renames = true);

 private:
  void open_tables(bool background = true);
  InodeRef node(const std::string& path);

  TempTree tree_;
  bool journal_file_;
  std::unique_ptr<FdBudget> budget_;
  std::unique_ptr<SourceTree> source_;
  std::unique_ptr<InodeTable> inodes_;
  std::unique_ptr<HandleTable> handles_;
  std::unique_ptr<ChangeJournal> journal_;
};

}  // namespace passthroughfs::test
