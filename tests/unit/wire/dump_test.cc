// SPDX-License-Identifier: Apache-2.0
#include "wire/dump.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

#include "support/request_bytes.h"

namespace passthroughfs::wire {
namespace {

namespace requests = test::requests;
using test::Bytes;
using test::RequestBytes;
using test::Sample;

std::string dumped(const RequestBytes& request, std::uint64_t unique = 4) {
  const Bytes bytes = request.encode(unique);
  const Result<Request> parsed = parse_request(ByteSpan(bytes));
  return parsed ? dump(*parsed, {}) : "not parsed";
}

bool printable(const std::string& line) {
  return std::all_of(line.begin(), line.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

TEST(Dump, ShowsHeaderAndArguments) {
  EXPECT_EQ(dumped(requests::lookup(1, "a").as(1000, 100)),
            "LOOKUP unique=4 node=1 uid=1000 gid=100 pid=1 name=\"a\"");
}

TEST(Dump, ShowsThatARequestWasSentAgain) {
  EXPECT_EQ(dumped(requests::statfs(), 4 | kUniqueResend),
            "STATFS unique=4 node=1 uid=0 gid=0 pid=1 resent");
}

TEST(Dump, EscapesWhatATerminalWouldObey) {
  const std::string line = dumped(requests::lookup(1, "\x1b[2J\n\"\\\x9b\x7f"));
  EXPECT_TRUE(printable(line)) << line;
  EXPECT_NE(line.find(R"(name="\x1b[2J\x0a\"\\\x9b\x7f")"), std::string::npos) << line;
}

TEST(Dump, ShowsSizesOfDataNotTheData) {
  const std::string line = dumped(requests::write(2, 9, 0, bytes_of(std::string_view("secret"))));
  EXPECT_NE(line.find("size=6"), std::string::npos) << line;
  EXPECT_EQ(line.find("secret"), std::string::npos) << line;
}

TEST(Dump, SaysThatARequestIsMalformed) {
  EXPECT_NE(dumped(requests::lookup(1, "a/b")).find("malformed: EINVAL"), std::string::npos);
}

TEST(Dump, TakesAnyOpcode) {
  for (const std::uint32_t number : {0U, 7U, 41U, 48U, 49U, 54U, 0xffffffffU}) {
    const std::string line = dumped(requests::make(static_cast<Opcode>(number), 1, Bytes(9)));
    EXPECT_NE(line.find("opcode=" + std::to_string(number)), std::string::npos) << line;
  }
}

class DumpOf : public ::testing::TestWithParam<Sample> {};

TEST_P(DumpOf, StartsWithItsName) {
  const std::string line = dumped(GetParam().request);
  EXPECT_EQ(line.rfind(std::string(opcode_name(GetParam().request.opcode)) + " unique=4 ", 0), 0U);
  EXPECT_EQ(line.find("malformed"), std::string::npos) << line;
}

TEST_P(DumpOf, SurvivesNonsense) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    RequestBytes request = GetParam().request;
    request.body.resize(random() % 120);
    for (std::byte& byte : request.body) byte = static_cast<std::byte>(random());
    EXPECT_TRUE(printable(dumped(request)));
  }
}

INSTANTIATE_TEST_SUITE_P(Each, DumpOf, ::testing::ValuesIn(test::sample_of_each_request()),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(DumpReply, ShowsErrorOrSize) {
  EXPECT_EQ(dump_reply(0, 128), "ok 128 bytes");
  EXPECT_EQ(dump_reply(ENOENT, 0), "error=ENOENT");
  EXPECT_EQ(dump_reply(4000, 0), "error=4000");
}

}  // namespace
}  // namespace passthroughfs::wire
