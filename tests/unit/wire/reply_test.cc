// SPDX-License-Identifier: Apache-2.0
#include "wire/reply.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/log.h"
#include "wire/opcode.h"

namespace passthroughfs::wire {
namespace {

class RecordingSink final : public ReplySink {
 public:
  struct Sent {
    std::uint64_t unique;
    int error;
    std::string payload;
  };

  Result<void> send(std::uint64_t unique, int error, std::span<const ByteSpan> parts) override {
    std::string payload;
    for (const ByteSpan part : parts) payload += text_of(part);
    sent.push_back({unique, error, payload});
    if (refuse != 0) return Err(refuse);
    return passthroughfs::ok();
  }
  void no_answer(std::uint64_t unique) noexcept override { unanswered.push_back(unique); }

  std::vector<Sent> sent;
  std::vector<std::uint64_t> unanswered;
  int refuse = 0;
};

constexpr auto kOpcode = static_cast<std::uint32_t>(Opcode::lookup);

TEST(Reply, EmptyOwesNothing) { EXPECT_FALSE(Reply().pending()); }

TEST(Reply, AnswersWithoutData) {
  RecordingSink sink;
  Reply reply(sink, 4, kOpcode);
  EXPECT_TRUE(reply.pending());
  EXPECT_EQ(reply.unique(), 4U);
  EXPECT_TRUE(reply.ok());
  EXPECT_FALSE(reply.pending());
  ASSERT_EQ(sink.sent.size(), 1U);
  EXPECT_EQ(sink.sent[0].unique, 4U);
  EXPECT_EQ(sink.sent[0].error, 0);
  EXPECT_EQ(sink.sent[0].payload, "");
}

TEST(Reply, AnswersWithData) {
  RecordingSink sink;
  EXPECT_TRUE(Reply(sink, 4, kOpcode).data(bytes_of(std::string_view("abc"))));
  EXPECT_EQ(sink.sent.at(0).payload, "abc");
}

TEST(Reply, AnswersWithAStruct) {
  RecordingSink sink;
  EXPECT_TRUE(Reply(sink, 4, kOpcode).value(WriteOut{.size = 7, .padding = 0}));
  EXPECT_EQ(sink.sent.at(0).payload.size(), sizeof(WriteOut));
}

TEST(Reply, AnswersWithPartsInOrder) {
  RecordingSink sink;
  const ByteSpan parts[] = {bytes_of(std::string_view("ab")), bytes_of(std::string_view("cd"))};
  EXPECT_TRUE(Reply(sink, 4, kOpcode).parts(parts));
  EXPECT_EQ(sink.sent.at(0).payload, "abcd");
}

TEST(Reply, AnswersWithAnError) {
  RecordingSink sink;
  EXPECT_TRUE(Reply(sink, 4, kOpcode).error(Err(ENOENT)));
  EXPECT_EQ(sink.sent.at(0).error, ENOENT);
}

class Observer final : public AnswerObserver {
 public:
  void answered(std::uint64_t unique_, int error_, std::size_t bytes_,
                std::span<const ByteSpan>) noexcept override {
    unique = unique_;
    error = error_;
    bytes = bytes_;
    ++times;
  }
  std::uint64_t unique = 0;
  int error = -1;
  std::size_t bytes = 0;
  int times = 0;
};

TEST(Reply, TellsItsObserverOnceWhereverItIsMovedTo) {
  RecordingSink sink;
  Observer first;
  Observer second;
  Reply reply(sink, 6, 1);
  reply.observe(first);
  reply.observe(second);
  Reply moved(std::move(reply));
  Reply assigned;
  assigned = std::move(moved);
  EXPECT_TRUE(assigned.data(bytes_of(std::string_view("abc"))));
  EXPECT_EQ(first.times, 0);
  EXPECT_EQ(second.times, 1);
  EXPECT_EQ(second.unique, 6U);
  EXPECT_EQ(second.error, 0);
  EXPECT_EQ(second.bytes, 3U);
}

TEST(Reply, AnswersOnlyOnce) {
  RecordingSink sink;
  Reply reply(sink, 4, kOpcode);
  EXPECT_TRUE(reply.ok());
  EXPECT_EQ(reply.ok().error(), EINVAL);
  EXPECT_EQ(sink.sent.size(), 1U);
}

TEST(Reply, TooManyPartsAreNotSentAndStillOwed) {
  RecordingSink sink;
  {
    Reply reply(sink, 4, kOpcode);
    const std::vector<ByteSpan> parts(ReplySink::kMaxParts + 1);
    EXPECT_EQ(reply.parts(parts).error(), EINVAL);
    EXPECT_TRUE(reply.pending());
  }
  ASSERT_EQ(sink.sent.size(), 1U);
  EXPECT_EQ(sink.sent[0].error, EIO);
}

TEST(Reply, PassesOnThatTheKernelGaveUpAndOwesNothingMore) {
  RecordingSink sink;
  sink.refuse = ENOENT;
  {
    Reply reply(sink, 4, kOpcode);
    EXPECT_EQ(reply.ok().error(), ENOENT);
    EXPECT_FALSE(reply.pending());
  }
  EXPECT_EQ(sink.sent.size(), 1U);
}

std::vector<std::string>* g_lines = nullptr;

class DroppedReply : public ::testing::Test {
 protected:
  DroppedReply() {
    g_lines = &lines_;
    set_log_sink([](LogLevel, std::string_view line) { g_lines->emplace_back(line); },
                 LogLevel::warning);
  }
  ~DroppedReply() override { set_log_sink(nullptr, LogLevel::info); }

  std::vector<std::string> lines_;
  RecordingSink sink_;
};

TEST_F(DroppedReply, AnswersEioAndSaysWhich) {
  { const Reply reply(sink_, 1234, kOpcode); }
  ASSERT_EQ(sink_.sent.size(), 1U);
  EXPECT_EQ(sink_.sent[0].unique, 1234U);
  EXPECT_EQ(sink_.sent[0].error, EIO);
  ASSERT_EQ(lines_.size(), 1U);
  EXPECT_NE(lines_[0].find("LOOKUP"), std::string::npos);
  EXPECT_NE(lines_[0].find("1234"), std::string::npos);
}

TEST_F(DroppedReply, SaysNothingAfterAnAnswer) {
  { EXPECT_TRUE(Reply(sink_, 4, kOpcode).ok()); }
  EXPECT_EQ(sink_.sent.size(), 1U);
  EXPECT_TRUE(lines_.empty());
}

TEST_F(DroppedReply, ThatNobodyWaitsForIsNotSent) {
  {
    Reply reply(sink_, 4, kOpcode);
    reply.none();
    EXPECT_FALSE(reply.pending());
    reply.no_answer();
  }
  EXPECT_TRUE(sink_.sent.empty());
  EXPECT_TRUE(sink_.unanswered.empty());
  EXPECT_TRUE(lines_.empty());
}

TEST_F(DroppedReply, ThatNeedsNoAnswerOnlyTellsTheSink) {
  {
    Reply reply(sink_, 4, kOpcode);
    reply.no_answer();
    EXPECT_FALSE(reply.pending());
    reply.no_answer();
  }
  EXPECT_TRUE(sink_.sent.empty());
  EXPECT_EQ(sink_.unanswered, std::vector<std::uint64_t>{4});
  EXPECT_TRUE(lines_.empty());
}

TEST_F(DroppedReply, MovingHandsTheDutyOver) {
  {
    Reply from(sink_, 4, kOpcode);
    Reply to(std::move(from));
    EXPECT_FALSE(from.pending());  // NOLINT(bugprone-use-after-move,clang-analyzer-cplusplus.Move)
    EXPECT_TRUE(to.ok());
  }
  EXPECT_EQ(sink_.sent.size(), 1U);
}

TEST_F(DroppedReply, AssigningOverAnOwedAnswerDropsIt) {
  Reply reply(sink_, 4, kOpcode);
  reply = Reply(sink_, 6, kOpcode);
  ASSERT_EQ(sink_.sent.size(), 1U);
  EXPECT_EQ(sink_.sent[0].unique, 4U);
  EXPECT_EQ(sink_.sent[0].error, EIO);
  EXPECT_TRUE(reply.ok());
  EXPECT_EQ(sink_.sent[1].unique, 6U);
}

TEST_F(DroppedReply, AssigningToItselfKeepsTheDuty) {
  Reply reply(sink_, 4, kOpcode);
  Reply& same = reply;
  reply = std::move(same);
  EXPECT_TRUE(reply.pending());
  EXPECT_TRUE(reply.ok());
  EXPECT_EQ(sink_.sent.size(), 1U);
}

}  // namespace
}  // namespace passthroughfs::wire
