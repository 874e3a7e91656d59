// SPDX-License-Identifier: Apache-2.0
//
// For tests that run the program itself and look at what it says and leaves behind.
#pragma once

#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/mount_fixture.h"

namespace passthroughfs::test {

// The processes whose command line has `text` in it.
inline std::vector<pid_t> processes_with(const std::string& text) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") == std::string::npos &&
        read_all("/proc/" + name + "/cmdline").find(text) != std::string::npos) {
      found.push_back(std::stoi(name));
    }
  }
  return found;
}

inline std::string mount_line(const std::string& path) {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    if (line.find(" " + path + " ") != std::string::npos) {
      return line;
    }
  }
  return "";
}

// Runs the program itself, on a tree with the directories `source` and `mnt`.
class CommandTest : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    source_ = tree_.make_dir("source");
    mnt_ = tree_.make_dir("mnt");
    tree_.make_dir("run");
    tree_.make_dir("state");
    write_file(source_ + "/f", "content");
  }
  void TearDown() override {
    // Whatever a failed test left running: it has our tree in its command line.
    while (!mnt_.empty() && umount2(mnt_.c_str(), MNT_DETACH) == 0) {
    }
    if (!wait_until([&] { return processes_with(tree_.path()).empty(); })) {
      ADD_FAILURE() << "the daemon is still there";
      for (const pid_t pid : processes_with(tree_.path())) {
        kill(pid, SIGKILL);
      }
    }
  }
  // With the options of PFS_TEST_OPTIONS, if it is a mount.
  ProgramResult run(std::vector<std::string> arguments,
                    std::vector<std::string> environment = {}) const {
    const char* extra = std::getenv("PFS_TEST_OPTIONS");
    if (extra != nullptr && arguments.size() > 1 && arguments[0] == source_) {
      arguments.insert(arguments.end(), {"-o", extra});
    }
    arguments.insert(arguments.begin(), program_path());
    environment.insert(environment.end(),
                       {"XDG_RUNTIME_DIR=" + tree_ / "run", "XDG_STATE_HOME=" + tree_ / "state"});
    return run_program(arguments, environment);
  }
  bool mounted() const { return !mount_line(mnt_).empty(); }

  // One line on stderr with `says` in it, nothing on stdout, nothing mounted.
  void expect_refusal(const ProgramResult& result, const std::string& says) const {
    EXPECT_GT(result.exit_code, 0);
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_NE(result.err.find(says), std::string::npos)
        << "'" << says << "' is not in: " << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_FALSE(mounted());
  }

  TempTree tree_;
  std::string source_, mnt_;
};

}  // namespace passthroughfs::test
