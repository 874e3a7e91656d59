// SPDX-License-Identifier: Apache-2.0
#include "control/session_target.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace passthroughfs {
namespace {

using Names = std::vector<std::string>;

TEST(OpenFlags, NameTheAccessModeFirst) {
  EXPECT_EQ(open_flag_names(O_RDONLY), Names{"O_RDONLY"});
  EXPECT_EQ(open_flag_names(O_WRONLY | O_APPEND), (Names{"O_WRONLY", "O_APPEND"}));
  EXPECT_EQ(open_flag_names(O_RDWR | O_CREAT | O_TRUNC), (Names{"O_RDWR", "O_CREAT", "O_TRUNC"}));
}

TEST(OpenFlags, NameAFlagThatContainsAnotherOnce) {
  EXPECT_EQ(open_flag_names(O_WRONLY | O_SYNC), (Names{"O_WRONLY", "O_SYNC"}));
  EXPECT_EQ(open_flag_names(O_WRONLY | O_DSYNC), (Names{"O_WRONLY", "O_DSYNC"}));
  EXPECT_EQ(open_flag_names(O_RDWR | O_TMPFILE), (Names{"O_RDWR", "O_TMPFILE"}));
  EXPECT_EQ(open_flag_names(O_RDONLY | O_DIRECTORY), (Names{"O_RDONLY", "O_DIRECTORY"}));
}

TEST(OpenFlags, LeaveOutWhatThe64BitAbiAddsAndShowTheUnknown) {
  EXPECT_EQ(open_flag_names(0100000), Names{"O_RDONLY"});
  EXPECT_EQ(open_flag_names(1U << 30), (Names{"O_RDONLY", "010000000000"}));
}

class FakeSession : public Session {
 public:
  Result<void> connect(UniqueFd, std::string&) override { return ok(); }
  Result<void> go_on(const Handover&, std::string&) override { return ok(); }
  Result<void> revive(std::string&) override { return ok(); }
  void hand_over(Handover&) const override {}
  bool drain(std::chrono::milliseconds) override { return true; }
  Result<void> serve(const Takeover&, std::string&) override { return ok(); }
  Result<void> wait() override { return ok(); }
  [[nodiscard]] unsigned root_mode() const override { return 0; }
  [[nodiscard]] unsigned long source_mount_flags() const override { return 0; }
  [[nodiscard]] HandlePage handles(std::uint64_t position, std::size_t most) const override {
    asked = {position, most};
    return {.handles = views, .next = 9};
  }
  [[nodiscard]] StatsView stats() const override { return view; }
  [[nodiscard]] const MountConfig& config() const override { return mount; }
  [[nodiscard]] ChangeQueries* changes() const override { return nullptr; }
  void leave() noexcept override {}
  [[nodiscard]] bool is_connected() const noexcept override { return true; }
  [[nodiscard]] bool can_be_recovered() const override { return false; }

  std::vector<HandleView> views;
  mutable std::pair<std::uint64_t, std::size_t> asked;
  StatsView view;
  MountConfig mount;
};

TEST(SessionTarget, TranslatesHandles) {
  FakeSession session;
  HandleView view;
  view.fh = 0x100000002;
  view.path = "a/b";
  view.flags = O_RDWR;
  view.opened_sec = 1700000000;
  view.opened_nsec = 5'000'000;
  view.bytes_written = 9;
  HandleView root;
  root.directory = true;
  session.views = {view, root};
  const SessionTarget target(session, [] { return Outcome<void>(); });
  const auto page = target.handles(3, 5);
  EXPECT_EQ(session.asked, (std::pair<std::uint64_t, std::size_t>(3, 5)));
  EXPECT_EQ(page.next, 9U);
  const auto& files = page.files;
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0].fh, view.fh);
  EXPECT_EQ(files[0].path, "a/b");
  EXPECT_EQ(files[0].bytes_written, 9U);
  EXPECT_EQ(files[0].opened.time_since_epoch(), std::chrono::milliseconds(1700000000005));
  EXPECT_EQ(files[1].path, ".");
  EXPECT_EQ(files[1].flags, (Names{"O_RDONLY", "O_DIRECTORY"}));
}

TEST(SessionTarget, TranslatesStatistics) {
  FakeSession session;
  OperationView lookup;
  lookup.opcode = wire::Opcode::lookup;
  lookup.count = 3;
  lookup.errors = 2;
  lookup.latency[4] = 3;
  session.view.operations = {lookup};
  session.view.notes = {"degraded"};
  const SessionTarget target(session, [] { return Outcome<void>(); });
  const Statistics stats = target.stats();
  ASSERT_EQ(stats.operations.size(), 1U);
  EXPECT_EQ(stats.operations[0].name, "LOOKUP");
  EXPECT_EQ(stats.operations[0].errors, 2U);
  EXPECT_EQ(stats.operations[0].latency, (std::vector<std::uint64_t>{0, 0, 0, 0, 3}));
  EXPECT_EQ(stats.notes, Names{"degraded"});
}

TEST(SessionTarget, NamesTheMountAndThisProcess) {
  FakeSession session;
  session.mount.source = "/s";
  session.mount.mountpoint = "/m";
  const SessionTarget target(session, [] { return Outcome<void>(); });
  EXPECT_EQ(target.info().source, "/s");
  EXPECT_EQ(target.info().mountpoint, "/m");
  EXPECT_EQ(target.info().pid, static_cast<std::uint32_t>(getpid()));
}

}  // namespace
}  // namespace passthroughfs
