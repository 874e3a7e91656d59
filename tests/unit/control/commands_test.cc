// SPDX-License-Identifier: Apache-2.0
#include "control/commands.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "unit/control/fake_target.h"

namespace passthroughfs {
namespace {

TEST(ControlCommands, AnswerWithWhatTheTargetSays) {
  test::FakeTarget target;
  target.files.resize(2);
  target.statistics.inodes = 5;
  EXPECT_EQ(decode_reply(answer(target, R"({"command":"handles"})")).value().size(), 2U);
  EXPECT_EQ(decode_reply(answer(target, R"({"command":"stats"})")).value().at("inodes"), 5);
  EXPECT_EQ(decode_reply(answer(target, R"({"command":"info"})")).value().at("pid"), 77);
}

TEST(ControlCommands, UnmountReachesTheTargetAndItsRefusalTheClient) {
  test::FakeTarget target;
  EXPECT_TRUE(decode_reply(answer(target, R"({"command":"unmount"})")));
  EXPECT_EQ(target.unmounts, 1);
  target.refuse_unmount = true;
  const auto reply = decode_reply(answer(target, R"({"command":"unmount"})"));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, EBUSY);
  EXPECT_EQ(reply.error().message, "it is busy");
}

TEST(ControlCommands, AnUnknownCommandIsNamedInShort) {
  test::FakeTarget target;
  const auto reply =
      decode_reply(answer(target, R"({"command":"x)" + std::string(1000, 'y') + "\"}"));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, ENOSYS);
  EXPECT_LT(reply.error().message.size(), 100U);
}

TEST(ControlCommands, EveryRowHasANameOfItsOwnAndAFunction) {
  for (const auto& row : control_commands()) {
    EXPECT_NE(row.run, nullptr);
    int same = 0;
    for (const auto& other : control_commands()) same += other.name == row.name ? 1 : 0;
    EXPECT_EQ(same, 1) << row.name;
  }
}

TEST(ControlCommands, AnAnswerBeyondTheProtocolsLimitIsAnError) {
  test::FakeTarget target;
  target.statistics.notes = {std::string(5000, 'n')};
  EXPECT_TRUE(decode_reply(answer(target, R"({"command":"stats"})", 10000)));
  const auto reply = decode_reply(answer(target, R"({"command":"stats"})", 5000));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, EFBIG);
}

}  // namespace
}  // namespace passthroughfs
