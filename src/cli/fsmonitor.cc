// SPDX-License-Identifier: Apache-2.0
//
// git's hook core.fsmonitor, version 2 (githooks(5)): git runs it at the top of a work tree with
// the version and the token that it got last time. The answer is a new token and the paths that may
// have changed since, relative to the top, each ended by NUL; "/" stands for everything.
#include <fmt/core.h>

#include <cerrno>
#include <string>

#include "cli/commands.h"
#include "cli/parse.h"
#include "cli/report.h"
#include "passthroughfs/client.h"
#include "proto/mount_point.h"

namespace passthroughfs {
namespace {

struct WorkTree {
  std::string mountpoint;
  std::string prefix;  // of its top below the mount, with a slash; empty at the mount's root
};

// The mount that the current directory is on.
Outcome<WorkTree> find_work_tree() {
  auto found = find_mount_point(".");
  if (!found) return found.error();
  const std::string top = found->path;
  while (!found->is_root && found->path != "/") {
    const std::size_t slash = found->path.rfind('/');
    found = find_mount_point(slash == 0 ? "/" : found->path.substr(0, slash));
    if (!found) return found.error();
  }
  // It may be seen there from a directory of it on (mount --bind).
  std::string prefix = (found->root == "/" ? "" : found->root + "/") +
                       (found->path == "/" ? top : top.substr(found->path.size()));
  const std::size_t begin = prefix.find_first_not_of('/');
  prefix.erase(0, begin == std::string::npos ? prefix.size() : begin);
  // "a//b" where both parts had one.
  for (std::size_t at = 0; (at = prefix.find("//", at)) != std::string::npos;) prefix.erase(at, 1);
  if (!prefix.empty() && prefix.back() != '/') prefix += '/';
  return WorkTree{found->path, prefix};
}

class Answer {
 public:
  explicit Answer(const WorkTree& tree) : tree_(tree) {}

  void add(const std::string& path, bool directory) {
    if (!path.starts_with(tree_.prefix)) {
      // Something above the work tree came, went or was moved: all of it is elsewhere.
      if (directory && tree_.prefix.starts_with(path + "/")) everything_ = true;
      return;
    }
    const std::string below = path.substr(tree_.prefix.size());
    if (below.empty() || below == ".git" || below.starts_with(".git/")) return;
    put(below);
    // Its own name says nothing of what is below it; and with a slash it does not stand for a file
    // of this name that git knows.
    if (directory) put(below + "/");
  }
  void add(const Change& change) {
    const bool directory = change.type == "directory";
    // What is in a directory that is there as before has not changed with it.
    const bool all_below = directory && (change.created || change.deleted || change.renamed);
    if (change.path != ".") add(change.path, all_below);
    if (change.renamed) add(change.from, directory);
  }
  void everything() { everything_ = true; }

  [[nodiscard]] bool print(const std::string& token) const {
    std::string text = token;
    text += '\0';
    if (everything_) {
      text += '/';
      text += '\0';
    } else {
      text += paths_;
    }
    return passthroughfs::print(text);
  }

 private:
  void put(const std::string& path) {
    paths_ += path;
    paths_ += '\0';
  }

  const WorkTree& tree_;
  std::string paths_;
  bool everything_ = false;
};

}  // namespace

int run_fsmonitor(Arguments arguments) {
  CommandLine command(
      "Tells git what has changed: git config core.fsmonitor 'passthroughfs fsmonitor'",
      "passthroughfs fsmonitor");
  std::string version;
  std::string token;
  command.option("VERSION", version, "of git's protocol: 2").required();
  command.option("TOKEN", token, "what git was told last time; may be empty");
  if (auto code = command.parse(arguments)) return *code;
  if (version != "2") {
    report(fmt::format("version 2 of git's protocol is spoken here, not '{}'", version));
    return kExitFailure;
  }
  const auto tree = find_work_tree();
  if (!tree) {
    report(tree.error().message);
    return kExitFailure;
  }
  auto client = Client::connect(tree->mountpoint);
  if (!client) {
    report(client.error().message);
    return kExitFailure;
  }
  Answer answer(*tree);
  auto told = client->visit_changes(token, true, [&](const Change& change) { answer.add(change); });
  std::string next;
  if (told) {
    next = told->token;
    if (!told->complete) answer.everything();
  } else if (told.error().code == EINVAL || told.error().code == ENOENT) {
    // Git's first question, or a token of an earlier journal.
    auto now = client->checkpoint();
    if (!now) {
      report(now.error().message);
      return kExitFailure;
    }
    next = *now;
    answer.everything();
  } else {
    report(told.error().message);
    return kExitFailure;
  }
  return answer.print(next) ? kExitOk : kExitFailure;
}

}  // namespace passthroughfs
