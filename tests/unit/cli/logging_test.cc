// SPDX-License-Identifier: Apache-2.0
#include "cli/logging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "support/temp_tree.h"

namespace passthroughfs {
namespace {

std::string content(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// One test, because the sink of a process is set once.
TEST(LogFile, TakesLinesWithTimeAndLevelAndSurvivesARotation) {
  test::TempTree tree;
  const std::string path = tree / "log";
  std::ofstream(path) << "earlier\n";
  const auto set = log_to_file(path, LogLevel::info);
  ASSERT_TRUE(set) << set.error().message;
  log_warning("number {}", 1);
  log_debug("not this");
  EXPECT_THAT(content(path),
              testing::MatchesRegex("earlier\n[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}"
                                    "\\.[0-9]{3}Z warning: number 1\n"));

  ASSERT_EQ(std::rename(path.c_str(), (tree / "old").c_str()), 0);
  log_info("to the old file");
  reopen_log();
  log_info("to the new file");
  EXPECT_NE(content(tree / "old").find("to the old file"), std::string::npos);
  EXPECT_EQ(content(tree / "old").find("to the new file"), std::string::npos);
  EXPECT_NE(content(path).find("to the new file"), std::string::npos);
  log_to_stderr(LogLevel::error);
}

TEST(LogFile, ThatCannotBeOpenedIsNamed) {
  test::TempTree tree;
  const auto set = log_to_file(tree / "none/log", LogLevel::info);
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().code, ENOENT);
  EXPECT_NE(set.error().message.find("none/log"), std::string::npos);
  EXPECT_FALSE(log_to_file(tree.path() + "/", LogLevel::info));
}

}  // namespace
}  // namespace passthroughfs
