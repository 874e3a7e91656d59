// SPDX-License-Identifier: Apache-2.0
#include "guard/remains.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "base/region.h"

namespace passthroughfs {
namespace {

using Processes = std::vector<pid_t>;

// A child that waits to be killed, with what is mapped here.
pid_t start_child() {
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) (void)::pause();
  }
  return child;
}

TEST(Remains, AreThoseThatHaveThisMemoryMapped) {
  const auto other = Region::create("passthroughfs-test", 4096);
  pid_t without = -1;
  {
    const auto gone = Region::create("passthroughfs-test", 4096);
    without = start_child();
  }
  const auto memory = Region::create("passthroughfs-test", 4096);
  ASSERT_TRUE(memory && other);
  const pid_t with = start_child();
  EXPECT_EQ(processes_that_map(memory->memory()), Processes{with}) << "but for this one";
  EXPECT_TRUE(end_processes_that_map(memory->memory(), std::chrono::seconds(20)));
  int status = 0;
  ASSERT_EQ(::waitpid(with, &status, 0), with);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(::waitpid(without, &status, WNOHANG), 0) << "it is another one's";
  EXPECT_EQ(processes_that_map(memory->memory()), Processes{});
  (void)::kill(without, SIGKILL);
  EXPECT_EQ(::waitpid(without, &status, 0), without);
}

}  // namespace
}  // namespace passthroughfs
