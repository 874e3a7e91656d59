// SPDX-License-Identifier: Apache-2.0
//
// The guardian by itself: its servers serve nothing. tests/mount/ has it with all the rest.
#include "guard/guardian.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <memory>
#include <new>
#include <string_view>

#include "base/log.h"
#include "support/wait_until.h"

namespace passthroughfs {
namespace {

using test::wait_until;

// What all processes see.
struct Shared {
  std::atomic<pid_t> server{0};          // that has begun last
  std::atomic<pid_t> deputy{0};          // of the first guardian
  std::atomic<bool> taking_over{false};  // a server is
  std::atomic<int> lines_meanwhile{0};   // of the log
  std::atomic<bool> place_told{false};   // by the one that was the deputy
  std::atomic<bool> over{false};
};
Shared* g_shared = nullptr;

void note_line(LogLevel, std::string_view line) {
  if (g_shared->taking_over) ++g_shared->lines_meanwhile;
  if (line.find("the guardian was killed") != std::string_view::npos) g_shared->place_told = true;
}

class GuardianTest : public ::testing::Test {
 protected:
  void SetUp() override {
    void* const at =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(at, MAP_FAILED);
    g_shared = new (at) Shared;
    ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  }
  // All of them are this process's children by now, or become so.
  void TearDown() override {
    g_shared->over = true;
    const auto all_gone = [] {
      pid_t child = 0;
      while ((child = waitpid(-1, nullptr, WNOHANG)) > 0) {
      }
      return child < 0 && errno == ECHILD;
    };
    EXPECT_TRUE(wait_until(all_gone));
    (void)prctl(PR_SET_CHILD_SUBREAPER, 0);
    (void)munmap(g_shared, sizeof(Shared));
  }

  void start_guardian() {
    guardian_ = fork();
    if (guardian_ != 0) return;
    set_log_sink(note_line, LogLevel::info);
    std::unique_ptr<Guardian> guardian;
    auto made = Guardian::create({.serve = [&](bool again) { return serve(*guardian, again); },
                                  .prepare = {},
                                  .try_program = {}},
                                 nullptr);
    if (!made) _exit(1);
    guardian = std::move(*made);
    if (!guardian->start()) _exit(1);
    _exit(guardian->watch() ? 0 : 1);
  }

  // The first one serves, the second one takes over until the guardian is another one.
  static int serve(Guardian& guardian, bool again) {
    if (again) {
      g_shared->taking_over = true;
      const pid_t before = guardian.guardian_pid();
      g_shared->server = getpid();
      // With a deputy of its own, it has done all that it does at first.
      (void)wait_until(
          [&] { return guardian.guardian_pid() != before && guardian.deputy_pid() != 0; });
      g_shared->taking_over = false;
    }
    guardian.serving();
    guardian.ready();
    g_shared->server = getpid();
    (void)wait_until([&] {
      if (!again) g_shared->deputy = guardian.deputy_pid();
      return g_shared->over.load();
    });
    return 0;
  }

  pid_t guardian_ = 0;
};

// It closes every descriptor that it does not know, among them the one by which a line is being
// written, and its number may be another file's before that line ends.
TEST_F(GuardianTest, ADeputySaysNothingWhileAServerTakesOver) {
  start_guardian();
  ASSERT_TRUE(wait_until([] { return g_shared->server != 0 && g_shared->deputy != 0; }));
  ASSERT_EQ(kill(g_shared->server, SIGKILL), 0);
  ASSERT_TRUE(wait_until([] { return g_shared->taking_over.load(); }));
  ASSERT_EQ(kill(guardian_, SIGKILL), 0);
  EXPECT_TRUE(wait_until([] { return g_shared->place_told.load(); }));
  EXPECT_EQ(g_shared->lines_meanwhile, 0);
  EXPECT_TRUE(wait_until([] { return !g_shared->taking_over; }));
  g_shared->over = true;
  const pid_t deputy = g_shared->deputy;
  EXPECT_TRUE(wait_until([&] { return waitpid(deputy, nullptr, WNOHANG) == deputy; }));
}

}  // namespace
}  // namespace passthroughfs
