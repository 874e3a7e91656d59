// SPDX-License-Identifier: Apache-2.0
#include "cli/stats_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "proto/messages.h"

namespace passthroughfs {
namespace {

MountInfo example_info() {
  return {.source = "/s\"x\\\n", .mountpoint = "/m\x1b", .version = "1.0", .pid = 5};
}

Statistics example_stats() {
  Statistics stats;
  stats.operations.push_back(
      {.name = "LOOKUP", .count = 4, .errors = 1, .total_ns = 8000, .latency = {}});
  stats.operations[0].latency.assign(40, 0);
  stats.operations[0].latency[10] = 3;
  stats.operations[0].latency[39] = 1;
  stats.operations.push_back({.name = "READ", .count = 9, .total_ns = 9, .latency = {9}});
  stats.notes = {"a note"};
  stats.io_reason = "a reason";
  return stats;
}

TEST(StatsText, ShowsTheBusiestOperationFirstAndTheNotes) {
  const std::string text = stats_text(example_info(), example_stats());
  EXPECT_LT(text.find("\nREAD "), text.find("\nLOOKUP "));
  EXPECT_NE(text.find("note: a note\n"), std::string::npos);
  EXPECT_NE(text.find("(a reason)"), std::string::npos);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST(StatsText, JsonHasTheMountAndTheNumbers) {
  const Json json = Json::parse(stats_json(example_info(), example_stats()));
  EXPECT_EQ(json.at("pid"), 5);
  EXPECT_EQ(json.at("mountpoint"), "/m\x1b");
  EXPECT_EQ(json.at("notes").at(0), "a note");
  EXPECT_EQ(json.at("operations").at(0).at("name"), "LOOKUP");
  EXPECT_EQ(json.at("operations").at(0).at("p50_us"), 1.71);
  EXPECT_EQ(json.get<Statistics>().operations.size(), 2U);
}

TEST(StatsText, TheDifferenceOfTwoMomentsIsWhatHappenedBetween) {
  const Statistics before = example_stats();
  Statistics now = before;
  now.operations[0].count += 2;
  now.operations[0].total_ns += 100;
  now.operations[0].latency[11] += 2;
  now.operations.push_back({.name = "WRITE", .count = 1});
  now.inodes = 3;
  const Statistics between = difference(now, before);
  ASSERT_EQ(between.operations.size(), 2U);
  EXPECT_EQ(between.operations[0].name, "LOOKUP");
  EXPECT_EQ(between.operations[0].count, 2U);
  EXPECT_EQ(between.operations[0].errors, 0U);
  EXPECT_EQ(between.operations[0].total_ns, 100U);
  EXPECT_EQ(between.operations[0].latency[10], 0U);
  EXPECT_EQ(between.operations[0].latency[11], 2U);
  EXPECT_EQ(between.operations[1].name, "WRITE");
  EXPECT_EQ(between.inodes, 3U);
}

// Every line is a comment or a sample, each metric is announced once and its samples follow.
TEST(Prometheus, FollowsTheTextFormat) {
  const std::string text = stats_prometheus(example_info(), example_stats());
  const std::string label = R"([a-z]+="([^"\]|\\["\n])*")";  // POSIX: \ is itself within brackets
  const testing::Matcher<const std::string&> sample =
      testing::MatchesRegex("[a-z_]+\\{" + label + "(," + label + ")*\\} [0-9.e+-]+");
  std::istringstream lines(text);
  std::set<std::string> announced;
  std::string current;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP ")) {
      current = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_TRUE(announced.insert(current).second) << line;
    } else if (line.starts_with("# TYPE ")) {
      EXPECT_TRUE(line.starts_with("# TYPE " + current + " ")) << line;
    } else {
      EXPECT_THAT(line, sample);
      EXPECT_TRUE(line.starts_with(current)) << line;
    }
  }
  EXPECT_GT(announced.size(), 10U);
}

TEST(Prometheus, BucketsAreCumulativeAndEndInTheCount) {
  const std::string text = stats_prometheus(example_info(), example_stats());
  std::istringstream lines(text);
  std::uint64_t last = 0;
  std::uint64_t infinite = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("operation=\"LOOKUP\"") == std::string::npos) continue;
    const std::uint64_t value = std::stoull(line.substr(line.rfind(' ')));
    if (line.find("_bucket") != std::string::npos) {
      EXPECT_GE(value, last) << line;
      last = value;
      if (line.find("+Inf") != std::string::npos) infinite = value;
    } else if (line.find("_seconds_count") != std::string::npos) {
      EXPECT_EQ(value, infinite);
    }
  }
  EXPECT_EQ(infinite, 4U);
  EXPECT_NE(text.find("le=\"1.024e-06\"} 0\n"), std::string::npos);
  EXPECT_NE(text.find("le=\"2.048e-06\"} 3\n"), std::string::npos);
}

}  // namespace
}  // namespace passthroughfs
