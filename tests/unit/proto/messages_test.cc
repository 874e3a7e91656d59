// SPDX-License-Identifier: Apache-2.0
#include "proto/messages.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace passthroughfs {
namespace {

using namespace std::chrono_literals;

OpenFileInfo example_file() {
  OpenFileInfo file;
  file.fh = 0xFFFFFFFF00000001;
  file.path = "dir/\xC3\xA4 \"quoted\"\n";
  file.flags = {"O_RDWR", "O_APPEND"};
  file.nodeid = 7;
  file.io = "daemon";
  file.pid = 42;
  file.opened = std::chrono::system_clock::time_point(1700000000123ms);
  file.reads = 1;
  file.writes = 2;
  file.bytes_read = 3;
  file.bytes_written = 1ULL << 60;
  file.deleted = true;
  return file;
}

TEST(Messages, OpenFileHasTheDocumentedFieldsInTheirOrder) {
  const Json json = example_file();
  std::vector<std::string> names;
  for (const auto& item : json.items()) names.push_back(item.key());
  EXPECT_EQ(names, (std::vector<std::string>{"fh", "path", "flags", "nodeid", "io", "pid", "opened",
                                             "reads", "writes", "bytes_read", "bytes_written",
                                             "deleted"}));
}

TEST(Messages, OpenFileSurvivesTheRoundTrip) {
  const OpenFileInfo file = example_file();
  const auto back = Json::parse(Json(file).dump()).get<OpenFileInfo>();
  EXPECT_EQ(back.fh, file.fh);
  EXPECT_EQ(back.path, file.path);
  EXPECT_EQ(back.flags, file.flags);
  EXPECT_EQ(back.nodeid, file.nodeid);
  EXPECT_EQ(back.io, file.io);
  EXPECT_EQ(back.pid, file.pid);
  EXPECT_EQ(back.opened, file.opened);
  EXPECT_EQ(back.reads, file.reads);
  EXPECT_EQ(back.writes, file.writes);
  EXPECT_EQ(back.bytes_read, file.bytes_read);
  EXPECT_EQ(back.bytes_written, file.bytes_written);
  EXPECT_EQ(back.deleted, file.deleted);
}

TEST(Messages, APathThatIsNotUtf8KeepsItsBytes) {
  OpenFileInfo file = example_file();
  file.path =
      "a\xFF\xFE"
      "b";
  const Json json = file;
  EXPECT_EQ(json.at("path"),
            "a\xEF\xBF\xBD\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(Json::parse(json.dump()).get<OpenFileInfo>().path, file.path);
}

TEST(Messages, StatisticsSurviveTheRoundTrip) {
  Statistics stats;
  stats.operations.push_back(
      {.name = "LOOKUP", .count = 5, .errors = 1, .total_ns = 9000, .latency = {0, 0, 5}});
  stats.inodes = 1;
  stats.inode_descriptors = 2;
  stats.descriptor_budget = 3;
  stats.descriptor_limit = 4;
  stats.evictions = 5;
  stats.restores = 6;
  stats.handles = 7;
  stats.lock_waiters = 8;
  stats.hung_requests = 12;
  stats.kept_by_manager = true;
  stats.revivals = 13;
  stats.lost_files = 14;
  stats.lost_locks = 15;
  stats.lost_inodes = 16;
  stats.unsaved_inodes = 17;
  stats.table_bytes = 9;
  stats.workers = 10;
  stats.overflow_threads = 11;
  stats.transport = "dev";
  stats.handles_mode = "table";
  stats.io = "daemon";
  stats.io_reason = "because";
  stats.cache = "normal";
  stats.notes = {"one", "two"};
  const std::string text = Json(stats).dump();
  const auto back = Json::parse(text).get<Statistics>();
  EXPECT_EQ(Json(back).dump(), text);
  ASSERT_EQ(back.operations.size(), 1U);
  EXPECT_EQ(back.operations[0].latency, stats.operations[0].latency);
  EXPECT_EQ(back.overflow_threads, 11U);
  EXPECT_EQ(back.hung_requests, 12U);
  EXPECT_EQ(back.notes, stats.notes);
}

TEST(Messages, MountInfoSurvivesTheRoundTrip) {
  const MountInfo info{.source = "/s\xFF", .mountpoint = "/m", .version = "1.2.3", .pid = 4};
  const auto back = Json::parse(Json(info).dump()).get<MountInfo>();
  EXPECT_EQ(back.source, info.source);
  EXPECT_EQ(back.mountpoint, info.mountpoint);
  EXPECT_EQ(back.version, info.version);
  EXPECT_EQ(back.pid, info.pid);
}

TEST(Messages, FieldsOfALaterVersionAreIgnoredAndMissingOnesAreEmpty) {
  const auto file = Json::parse(R"({"fh":1,"path":"a","later":{"x":1}})").get<OpenFileInfo>();
  EXPECT_EQ(file.fh, 1U);
  EXPECT_EQ(file.path, "a");
  EXPECT_FALSE(file.deleted);
}

TEST(Messages, RequestSurvivesTheRoundTrip) {
  const auto back =
      decode_request(encode_request({.command = "x", .arguments = Json{{"since", "t"}}}));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->command, "x");
  EXPECT_EQ(back->arguments.at("since"), "t");
}

TEST(Messages, RequestRefusesWhatItCannotUnderstand) {
  for (const std::string_view line :
       {"", "{", "null", "1", "\"handles\"", "[]", "{}", R"({"command":1})", R"({"command":null})",
        R"({"command":"x","arguments":[]})", "{\"command\":\"x\"}}", "\xFF\xFE",
        R"({"command":"\ud800"})"}) {
    const auto request = decode_request(line);
    ASSERT_FALSE(request) << line;
    EXPECT_EQ(request.error().code, EPROTO) << line;
  }
}

TEST(Messages, RequestOfDeepNestingNeitherCrashesNorIsUnderstood) {
  const std::string deep(60000, '[');
  EXPECT_FALSE(decode_request(deep));
  EXPECT_FALSE(
      decode_request(R"({"command":"x","arguments":)" + deep + std::string(60000, ']') + "}"));
}

TEST(Messages, ReplyCarriesAResultOrAnError) {
  const auto result = decode_reply(encode_reply(Json{{"a", 1}}));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->at("a"), 1);
  const auto error = decode_reply(encode_reply(Error{EPERM, "no \xFF"}));
  ASSERT_FALSE(error);
  EXPECT_EQ(error.error().code, EPERM);
  EXPECT_EQ(error.error().message, "no \xEF\xBF\xBD");
}

TEST(Messages, ReplyRefusesWhatItCannotUnderstand) {
  for (const std::string_view line :
       {"", "[]", "{}", R"({"error":1})", R"({"error":{"code":"x"}})", R"({"result":1)"}) {
    const auto reply = decode_reply(line);
    ASSERT_FALSE(reply) << line;
    EXPECT_EQ(reply.error().code, EPROTO) << line;
  }
}

TEST(Messages, TimeIsUtcWithMilliseconds) {
  EXPECT_EQ(format_time(std::chrono::system_clock::time_point(1700000000007ms)),
            "2023-11-14T22:13:20.007Z");
  const auto back = parse_time("2023-11-14T22:13:20.007Z");
  ASSERT_TRUE(back);
  EXPECT_EQ(back->time_since_epoch(), 1700000000007ms);
  EXPECT_FALSE(parse_time("yesterday"));
  EXPECT_FALSE(parse_time("1012-05-06T07:08:09.123Z"));  // no time point reaches so far back
  EXPECT_FALSE(parse_time("9999-05-06T07:08:09.123Z"));
  EXPECT_FALSE(parse_time("2023-11-14T22:13:20Z"));
}

}  // namespace
}  // namespace passthroughfs
