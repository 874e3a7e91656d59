// SPDX-License-Identifier: Apache-2.0
//
// A real mount of the program under test, with a native directory beside its source as the oracle.
//
//   PFS_PROGRAM       the program (set by CMake; else what it was at compile time)
//   PFS_TEST_NATIVE   1: no program, the "mount" is the source directory itself. Proves the tests.
//   PFS_TEST_OPTIONS  options for every mount that does not set them itself: handles=stateless.
//                     Without a transport it is transport=dev, so that a test does not depend on
//                     what the machine's kernel is set to.
//   PFS_TEST_DEADLINE seconds after which a hung mount is aborted (default 90)
#pragma once

#include <gtest/gtest.h>

#include <sys/resource.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/program.h"
#include "support/run_as.h"
#include "support/temp_tree.h"
#include "support/trace.h"
#include "support/wait_until.h"

namespace passthroughfs::test {

class Starter;

// Whether PFS_TEST_NATIVE is set.
bool native_run();

// The path of the program under test.
std::string program_path();

// Sets the kernel's parameter for FUSE over io_uring, for good: others may be using it, too. Says
// why it cannot be had, "" if it can.
std::string enable_fuse_over_uring();

struct MountSettings {
  std::vector<std::string> options = {};  // "name" or "name=value", added to the defaults
  bool allow_other = true;
  TempTree::Medium medium = TempTree::Medium::kDisk;
  std::string source = {};  // mounted instead of a fresh directory; the caller's to remove
  rlim_t descriptors = 0;   // hard RLIMIT_NOFILE of the daemon; 0: the test's
  std::vector<std::string> environment = {};  // of the daemon, NAME=value
  bool server_dies = false;                   // the test sees to that; else it is a failure
  bool starts_again = false;                  // the test will call start_again()
  bool broken_on_purpose = false;  // the test kills it: neither exit code nor log are judged
};

// Owns a temporary tree with the directories `source`, `mnt` and `native` (all mode 0755), the
// daemon, and the mount. Whatever happens to the test (even SIGKILL, or a mount that hangs), a
// watchdog process ends the daemon and the mount. Not thread-safe; not copyable.
class Mount {
 public:
  // Returns when the daemon says that it serves the mount; otherwise the test has failed and ok()
  // is false.
  explicit Mount(const MountSettings& settings = {});
  // stop(), and the tree is removed.
  ~Mount();
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  bool ok() const { return ok_; }

  const std::string& mnt() const { return mnt_; }        // through the mount
  const std::string& source() const { return source_; }  // behind it
  const std::string& native() const { return native_; }  // an independent native directory
  const TempTree& tree() const { return tree_; }
  std::string mnt(std::string_view name) const { return mnt_ + "/" + std::string(name); }
  std::string source(std::string_view name) const { return source_ + "/" + std::string(name); }
  std::string native(std::string_view name) const { return native_ + "/" + std::string(name); }

  // The daemon. -1 in a native run.
  pid_t pid() const { return pid_; }
  // SIGKILL for all of its processes, those that would start others first. The mount stays, dead.
  void kill_all();
  // Then, with MountSettings::starts_again: starts the program again as a service manager does that
  // has kept these descriptors for it (LISTEN_FDS). Does not wait for it.
  void start_again(const std::vector<std::pair<std::string, int>>& kept);
  // Who serves: with recover=on, as it is by default, a child of the above.
  pid_t server_pid() const;
  // How many descriptors it has open now, but for those of rings (a CPU whose thread is stuck for a
  // while gets one more, which stays) and a pipe for each CPU.
  std::size_t descriptors() const;
  // What it wrote to stderr so far.
  std::string log() const;
  // Whether anything is mounted there; nobody is asked.
  bool mounted() const;
  // Whether an option is in force on this mount, whoever set it.
  bool has_option(std::string_view option) const;

  // Runs `passthroughfs ARGUMENTS...` in the daemon's environment (state and socket directories).
  // `program`: another one than the program under test.
  ProgramResult command(const std::vector<std::string>& arguments,
                        const std::string& program = {}) const;
  // How often the daemon has been asked for an operation ("LOOKUP") until now, by its statistics.
  std::uint64_t requests(std::string_view operation) const;
  const std::vector<std::string>& environment() const { return environment_; }

  // Unmounts, waits for the daemon, and fails the test unless it ended with 0 and without a
  // sanitizer report. Harmless when called twice.
  void stop();
  // Waits for the daemon to end by itself (after a signal or umount) and returns its exit code,
  // -1 if a signal ended it, or nothing when it does not end in time.
  std::optional<int> wait_for_exit();
  // Ends the connection in the kernel; every request fails from now on.
  void abort() const;

 private:
  bool start(const MountSettings& settings);
  void start_watchdog();
  std::vector<pid_t> children() const;
  void judge_log() const;

  TempTree tree_;
  std::string source_, mnt_, native_;
  std::vector<std::string> options_, environment_, arguments_;
  bool broken_on_purpose_ = false, server_dies_ = false;
  bool ok_ = false;
  std::unique_ptr<Starter> starter_;
  pid_t pid_ = -1;
  int watchdog_ = -1;  // closing it makes the watchdog clean up; a byte sent before ends it
};

// Runs `scenario` in the mount and in the native directory and expects the same account of it from
// both. Returns the native one, so that the test can assert that it says what it is meant to.
using Scenario = std::function<void(Trace&, const std::string& directory)>;
Trace expect_same(const Mount& mount, const Scenario& scenario);

// One mount with default settings per test.
class MountTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  const Mount& mount() const { return *mount_; }
  Mount& mount() { return *mount_; }
  std::string mnt(std::string_view name) const { return mount_->mnt(name); }
  std::string source(std::string_view name) const { return mount_->source(name); }
  Trace same(const Scenario& scenario) const { return expect_same(*mount_, scenario); }
  virtual MountSettings settings() const { return {}; }

 private:
  std::unique_ptr<Mount> mount_;
};

// Small file helpers; they throw std::system_error.
void write_file(const std::string& path, std::string_view content, mode_t mode = 0644);
std::string read_file(const std::string& path);
// Opens and closes at once: 0, or -1 with the errno of open.
int try_open(const std::string& path, int flags, mode_t mode = 0644);
int try_openat(int dir, const char* name, int flags, mode_t mode = 0644);
// mkdir with exactly this mode, whatever the umask.
std::string make_dir(const std::string& path, mode_t mode = 0755);

}  // namespace passthroughfs::test

// Why a test cannot run here. Whoever lacks root gets a failure when CI says that it must not.
#define PFS_NEEDS_DAEMON() \
  if (::passthroughfs::test::native_run()) GTEST_SKIP() << "there is no daemon in a native run"
#define PFS_NEEDS_ROOT()                                                       \
  if (geteuid() != 0) {                                                        \
    if (std::getenv("CI") != nullptr) GTEST_FAIL() << "these tests need root"; \
    GTEST_SKIP() << "needs root";                                              \
  }
// For what the kernel's own file on the source cannot do (docs/semantics.md); the daemon can.
#define PFS_NEEDS_DAEMON_IO()                                                     \
  if (!::passthroughfs::test::native_run() && !mount().has_option("io=daemon") && \
      !mount().has_option("handles=stateless"))                                   \
  GTEST_SKIP() << "in passthrough the flags of the open stay in force (see docs/semantics.md)"
// For what only an open handle can do.
#define PFS_NEEDS_HANDLES()                    \
  if (mount().has_option("handles=stateless")) \
  GTEST_SKIP() << "handles=stateless keeps no open file (see README)"
// For changes behind the mount.
#define PFS_NEEDS_A_SHARED_SOURCE()        \
  if (mount().has_option("cache=forever")) \
  GTEST_SKIP() << "cache=forever trusts that nobody changes the source"
