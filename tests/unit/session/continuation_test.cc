// SPDX-License-Identifier: Apache-2.0
#include "session/continuation.h"

#include <gtest/gtest.h>

#include <cstring>

namespace passthroughfs {
namespace {

TEST(ContinuationTest, WhatWasNegotiatedComesAcross) {
  Negotiated settled;
  settled.reply.major = 7;
  settled.reply.minor = 45;
  settled.reply.max_write = 1U << 20;
  settled.reply.max_stack_depth = 0xfedcba98;
  settled.flags = 0xf00000000000000f;
  settled.decode.setxattr_ext = true;
  Handover handover;
  put_negotiated(handover, settled);
  const auto got = get_negotiated(handover);
  ASSERT_TRUE(got);
  EXPECT_EQ(std::memcmp(&got->reply, &settled.reply, sizeof settled.reply), 0);
  EXPECT_EQ(got->flags, settled.flags);
  EXPECT_TRUE(got->decode.setxattr_ext);
}

TEST(ContinuationTest, HalfOfItIsNothing) {
  Handover handover;
  EXPECT_FALSE(get_negotiated(handover));
  put_negotiated(handover, Negotiated{});
  EXPECT_TRUE(get_negotiated(handover));
  const std::string reply = handover.text("init_reply").value();
  handover.put_text("init_reply", reply.substr(2));
  EXPECT_FALSE(get_negotiated(handover));
  handover.put_text("init_reply", "zz" + reply.substr(2));
  EXPECT_FALSE(get_negotiated(handover));
}

TEST(ContinuationTest, TheLayoutNamesWhatItDependsOn) {
  const std::string layout = memory_layout();
  for (const char* word : {"inodes", "handles", "lock owners", "ledgers"}) {
    EXPECT_NE(layout.find(word), std::string::npos) << word;
  }
}

}  // namespace
}  // namespace passthroughfs
