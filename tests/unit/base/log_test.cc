// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace passthroughfs {
namespace {

std::vector<std::pair<LogLevel, std::string>>* g_lines = nullptr;

class Log : public ::testing::Test {
 protected:
  Log() { g_lines = &lines_; }
  ~Log() override {
    set_log_sink(nullptr, LogLevel::info);
    g_lines = nullptr;
  }
  static void sink(LogLevel level, std::string_view line) { g_lines->emplace_back(level, line); }

  std::vector<std::pair<LogLevel, std::string>> lines_;
};

TEST_F(Log, WithoutASinkIsSilent) {
  EXPECT_FALSE(log_enabled(LogLevel::error));
  log_error("nobody hears {}", 1);
}

TEST_F(Log, ReachesTheSinkFormatted) {
  set_log_sink(sink, LogLevel::debug);
  log_warning("{} of {}", 3, "four");
  ASSERT_EQ(lines_.size(), 1U);
  EXPECT_EQ(lines_[0].first, LogLevel::warning);
  EXPECT_EQ(lines_[0].second, "3 of four");
}

TEST_F(Log, LeavesOutWhatIsBelowTheLowestLevel) {
  set_log_sink(sink, LogLevel::warning);
  log_debug("no");
  log_info("no");
  log_warning("yes");
  log_error("yes");
  EXPECT_EQ(lines_.size(), 2U);
  EXPECT_FALSE(log_enabled(LogLevel::info));
  EXPECT_TRUE(log_enabled(LogLevel::error));
}

TEST(LogRateLimit, LetsAFewThroughPerSecond) {
  // 1000 calls take far less than the 3 seconds that would give the limit four fresh starts.
  LogRateLimit limit(2);
  unsigned allowed = 0;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000; ++i) allowed += limit.allow() ? 1U : 0U;
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - start);
  EXPECT_GE(allowed, 2U);
  EXPECT_LE(allowed, 2U * (static_cast<unsigned>(seconds.count()) + 2U));
}

TEST(LogRateLimit, OfZeroLetsNothingThrough) {
  LogRateLimit limit(0);
  EXPECT_FALSE(limit.allow());
}

TEST(LogRateLimit, StartsAgainInTheNextSecond) {
  LogRateLimit limit(1);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  unsigned allowed = 0;
  while (allowed < 2 && std::chrono::steady_clock::now() < deadline) {
    allowed += limit.allow() ? 1U : 0U;
  }
  EXPECT_EQ(allowed, 2U);
}

}  // namespace
}  // namespace passthroughfs
