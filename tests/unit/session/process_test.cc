// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "session/session.h"
#include "support/run_as.h"

namespace passthroughfs {
namespace {

TEST(PrepareProcess, NothingCanBeExecuted) {
  test::in_child([] {
    prepare_process();
    char name[] = "/bin/true";
    char* arguments[] = {name, nullptr};
    EXPECT_EQ(execv(name, arguments), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(syscall(SYS_execveat, -1, name, arguments, nullptr, 0), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_GT(syscall(SYS_getppid), 0) << "the rest works";
  });
}

#if defined(__x86_64__)

// The 32-bit entry has numbers of its own: 11 is execve, and 59, execve here, is something else.
long call_by_old_interrupt(long number) {
  long result = number;
  asm volatile("int $0x80" : "+a"(result) : "b"(0L), "c"(0L), "d"(0L) : "memory");
  return static_cast<int>(result);
}

TEST(PrepareProcess, NotByTheThirtyTwoBitEntryEither) {
  constexpr long kGetpid = 20;
  constexpr long kExecve = 11;
  constexpr long kExecveat = 358;
  // A kernel without that entry ends the process; then there is nothing to forbid.
  const pid_t probe = fork();
  if (probe == 0) _exit(call_by_old_interrupt(kGetpid) == getpid() ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(probe, &status, 0), probe);
  if (status != 0) GTEST_SKIP() << "this kernel has no 32-bit entry";
  test::in_child([] {
    prepare_process();
    EXPECT_EQ(call_by_old_interrupt(kExecve), -EPERM);
    EXPECT_EQ(call_by_old_interrupt(kExecveat), -EPERM);
    EXPECT_EQ(call_by_old_interrupt(kGetpid), -EPERM);
  });
}

TEST(PrepareProcess, NorByTheNumbersOfX32) {
  constexpr long kX32 = 0x40000000;
  test::in_child([] {
    prepare_process();
    for (const long number : {59L, 520L, 545L, 322L}) {
      EXPECT_EQ(syscall(kX32 | number, 0, 0, 0, 0, 0), -1) << number;
      EXPECT_EQ(errno, EPERM) << number;
    }
  });
}

#endif

}  // namespace
}  // namespace passthroughfs
