// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <vector>

#include "cli/doctor_checks.h"
#include "support/run_as.h"
#include "support/temp_tree.h"

namespace passthroughfs {
namespace {

int run(int (*command)(Arguments), std::vector<const char*> words) { return command(words); }

TEST(Commands, AreListedInTheHelpOnceTheyExist) {
  const std::string help = general_help();
  for (const Command& command : commands()) {
    const bool listed = help.find("  " + std::string(command.name) + " ") != std::string::npos;
    EXPECT_EQ(listed, command.run != nullptr) << command.name;
  }
}

TEST(Commands, EachHasHelpAndRefusesUnknownOptions) {
  for (const Command& command : commands()) {
    if (command.run == nullptr) continue;
    testing::internal::CaptureStdout();
    EXPECT_EQ(run(command.run, {"--help"}), kExitOk) << command.name;
    EXPECT_NE(testing::internal::GetCapturedStdout(), "");
    testing::internal::CaptureStderr();
    EXPECT_EQ(run(command.run, {"/proc", "--no-such-option"}), kExitUsage) << command.name;
    const std::string error = testing::internal::GetCapturedStderr();
    EXPECT_NE(error.find("no-such-option"), std::string::npos) << command.name;
    EXPECT_EQ(error.find('\n'), error.size() - 1) << "not one line: " << error;
  }
}

TEST(Commands, ThatNeedAMountSayWhatIsWrongWithThePath) {
  test::TempTree tree;
  for (auto* command : {run_umount, run_handles, run_stats, run_top}) {
    testing::internal::CaptureStderr();
    EXPECT_EQ(run(command, {}), kExitUsage);
    EXPECT_EQ(run(command, {tree.path().c_str()}), kExitFailure);
    EXPECT_EQ(run(command, {"/proc"}), kExitFailure);
    EXPECT_EQ(testing::internal::GetCapturedStderr(),
              "passthroughfs: MOUNTPOINT is required\n"
              "passthroughfs: " +
                  tree.path() +
                  " is not a mount point\n"
                  "passthroughfs: /proc is not a passthroughfs mount, but proc\n");
  }
}

TEST(Commands, DoctorAlwaysSucceeds) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(run(run_doctor, {}), kExitOk);
  EXPECT_EQ(run(run_doctor, {"--json"}), kExitOk);
  EXPECT_NE(testing::internal::GetCapturedStdout().find("/dev/fuse"), std::string::npos);
}

// The hard limit is where the daemon stops, whatever its capabilities.
TEST(Commands, DoctorCountsTheHardLimitOfDescriptors) {
  test::in_child([] {
    rlimit limit{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_max = 4096;
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_cur, 4096);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    bool found = false;
    for (const Check& check : run_checks()) {
      if (check.name != "RLIMIT_NOFILE") continue;
      found = true;
      EXPECT_FALSE(check.ok);
      EXPECT_NE(check.hint, "");
    }
    EXPECT_TRUE(found);
  });
}

}  // namespace
}  // namespace passthroughfs
