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

TEST(ControlCommands, HandlesComeInPagesWhenAskedFor) {
  test::FakeTarget target;
  target.made_up = 1500;
  const auto ask = [&](const std::string& position) {
    return decode_reply(
        answer(target, R"({"command":"handles","arguments":{"position":)" + position + "}}"));
  };
  const auto first = ask("0").value().get<OpenFilePage>();
  EXPECT_EQ(first.files.size(), 1024U);
  const auto second = ask(std::to_string(first.next)).value().get<OpenFilePage>();
  EXPECT_EQ(second.files.size(), 476U);
  EXPECT_EQ(second.next, 0U);
  EXPECT_EQ(ask("99999").value().get<OpenFilePage>().files.size(), 0U);
  EXPECT_EQ(ask("-1").error().code, EINVAL);
  EXPECT_EQ(ask("\"x\"").error().code, EINVAL);
}

// A client of the first version asks without a position and wants an array.
TEST(ControlCommands, HandlesAreOneArrayWhenNobodyAsksForPages) {
  test::FakeTarget target;
  target.made_up = 1500;
  const auto all = decode_reply(answer(target, R"({"command":"handles"})"));
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), 1500U);
  // And from such a daemon an array is what comes.
  EXPECT_EQ(all->get<OpenFilePage>().files.size(), 1500U);
  EXPECT_EQ(all->get<OpenFilePage>().next, 0U);
  target.made_up = 1'000'000;
  const auto many = decode_reply(answer(target, R"({"command":"handles"})"));
  ASSERT_FALSE(many);
  EXPECT_EQ(many.error().code, EFBIG);
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
