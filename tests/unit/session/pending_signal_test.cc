// SPDX-License-Identifier: Apache-2.0
#include "session/pending_signal.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "support/wait_until.h"

namespace passthroughfs {
namespace {

std::string status(const std::string& thread, const std::string& process,
                   const std::string& blocked) {
  return "Name:\tx\nSigQ:\t0/1\nSigPnd:\t" + thread + "\nShdPnd:\t" + process + "\nSigBlk:\t" +
         blocked + "\nSigIgn:\t0000000000000000\n";
}

TEST(PendingSignal, ReadsTheStatus) {
  EXPECT_FALSE(shows_pending_signal(status("0000000000000000", "0000000000000000", "0")));
  EXPECT_TRUE(shows_pending_signal(status("0000000000002000", "0000000000000000", "0")));
  EXPECT_TRUE(shows_pending_signal(status("0000000000000000", "8000000000000000", "0")));
  EXPECT_FALSE(shows_pending_signal(status("0000000000002000", "0", "0000000000002000")));
  EXPECT_TRUE(shows_pending_signal(status("0000000000002001", "0", "0000000000002000")));
  for (const char* text : {"", "SigPnd:\t1\n", "\nSigPnd:\t", "\nSigPnd:\tzz\n"}) {
    EXPECT_FALSE(shows_pending_signal(text)) << text;
  }
}

TEST(PendingSignal, OfAStoppedProcessThatHasOne) {
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  ASSERT_GT(child, 0);
  EXPECT_FALSE(has_pending_signal(child));
  kill(child, SIGSTOP);
  int how = 0;
  ASSERT_EQ(waitpid(child, &how, WUNTRACED), child);
  kill(child, SIGTERM);  // waits until it goes on
  EXPECT_TRUE(has_pending_signal(child));
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, &how, 0), child);
  EXPECT_FALSE(has_pending_signal(child));
  EXPECT_FALSE(has_pending_signal(0));
}

}  // namespace
}  // namespace passthroughfs
