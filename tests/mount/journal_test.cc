// SPDX-License-Identifier: Apache-2.0
//
// Tokens, journals and `watch`: what outlives what, and what is refused.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/json.h"
#include "support/loop_image.h"
#include "support/mount_fixture.h"
#include "support/told_changes.h"

namespace passthroughfs::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

class JournalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
    source_ = tree_.make_dir("kept");
  }
  std::unique_ptr<Mount> mount(const std::string& journal, bool killed = false) {
    MountSettings settings;
    settings.options = {"journal=" + journal};
    settings.source = source_;
    settings.broken_on_purpose = killed;
    auto mount = std::make_unique<Mount>(settings);
    EXPECT_TRUE(mount->ok());
    return mount;
  }
  std::string refused(const Mount& mount, const std::string& token) {
    const ProgramResult result = mount.command({"dirty", mount.mnt(), "--since", token});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_EQ(result.out, "");
    return result.err;
  }

  TempTree tree_;
  std::string source_;
};

TEST_F(JournalTest, TokensOutliveARestart) {
  const std::string journal = tree_ / "journal";
  write_file(source_ + "/a", "1");
  std::string token;
  {
    auto first = mount(journal);
    token = checkpoint(*first);
    write_file(first->mnt("a"), "22");
    first->stop();
  }
  auto second = mount(journal);
  write_file(second->mnt("b"), "1");
  EXPECT_THAT(dirty(*second, token), UnorderedElementsAre(Pair("a", "data"), Pair("b", "created")));
  // Without a token: since this mount was made.
  EXPECT_THAT(dirty(*second, ""), UnorderedElementsAre(Pair("b", "created")));
}

TEST_F(JournalTest, TokensOutliveSigkill) {
  const std::string journal = tree_ / "journal";
  write_file(source_ + "/a", "1");
  std::string token;
  {
    auto first = mount(journal, true);
    token = checkpoint(*first);
    write_file(first->mnt("a"), "22");
    for (int i = 0; i < 50; ++i) write_file(first->mnt("n" + std::to_string(i)), "1");
    first->kill_all();
  }
  auto second = mount(journal);
  const Changes changes = dirty(*second, token);
  EXPECT_EQ(changes.size(), 51U);
  EXPECT_EQ(changes.at("a"), "data");
  EXPECT_EQ(changes.at("n49"), "created");
}

TEST_F(JournalTest, TokensThatAreNoneAreRefused) {
  auto first = mount("memory");
  auto other = mount("memory");
  EXPECT_THAT(refused(*first, "nonsense"), HasSubstr("is not a token"));
  EXPECT_THAT(refused(*first, ""), HasSubstr("is not a token"));
  EXPECT_THAT(refused(*first, checkpoint(*other)), HasSubstr("another journal"));
}

TEST_F(JournalTest, ForgottenTokensAreRefused) {
  auto one = mount("memory");
  const std::string old = checkpoint(*one);
  write_file(one->mnt("a"), "1");
  const std::string token = checkpoint(*one);
  EXPECT_EQ(checkpoint(*one), token);
  const ProgramResult done = one->command({"checkpoint", one->mnt(), "--forget-before", token});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_THAT(refused(*one, old), HasSubstr("has been forgotten"));
  EXPECT_THAT(dirty(*one, token), IsEmpty());
}

TEST_F(JournalTest, WithoutAJournalEachCommandSaysSo) {
  auto one = mount("off");
  write_file(one->mnt("a"), "1");
  for (const char* command : {"checkpoint", "dirty", "watch"}) {
    const ProgramResult result = one->command({command, one->mnt()});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.err, HasSubstr("journal=off"));
  }
}

TEST_F(JournalTest, AForeignFileIsRefusedAndLeftAlone) {
  const std::string mnt = tree_.make_dir("mnt");
  for (const std::string& content :
       {std::string("a letter"), std::string(5000, '\0'),
        std::string("SQLite format 3\0", 16) + std::string(4080, 'x')}) {
    const std::string file = tree_ / "foreign";
    write_file(file, content);
    const ProgramResult result =
        run_program({program_path(), source_, mnt, "-o", "journal=" + file});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.err, HasSubstr("it was left untouched"));
    EXPECT_EQ(read_file(file), content);
  }
}

TEST_F(JournalTest, TheJournalOfAnotherSourceIsRefused) {
  const std::string journal = tree_ / "journal";
  mount(journal)->stop();
  const ProgramResult result = run_program(
      {program_path(), tree_.make_dir("other"), tree_.make_dir("mnt"), "-o", "journal=" + journal});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("belongs to another source"));
}

TEST_F(JournalTest, TwoMountsDoNotShareAJournal) {
  const std::string journal = tree_ / "journal";
  auto first = mount(journal);
  const ProgramResult result =
      run_program({program_path(), source_, tree_.make_dir("mnt"), "-o", "journal=" + journal});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("in use by another mount"));
}

// `passthroughfs watch` on a mount, for as long as the object lives or the mount does.
class Watch {
 public:
  Watch(const Mount& mount, const std::string& since)
      : output_(mount.tree() / "watched"), child_([&, this] {
          const int out = ::open(output_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
          dup2(out, STDOUT_FILENO);
          exec_program({program_path(), "watch", mount.mnt(), "--since", since},
                       mount.environment());
        }) {}
  // Whether it says so now, whatever else it says.
  bool tells(const std::string& path, const std::string& kind) const {
    std::istringstream lines(read_all(output_));
    for (std::string line; std::getline(lines, line);) {
      const auto told = parse_json(line);  // one may be half written
      if (told.is_discarded() || told.value("path", "") != path) continue;
      const std::vector<std::string> kinds = told.at("kinds");
      if (std::find(kinds.begin(), kinds.end(), kind) != kinds.end()) return true;
    }
    return false;
  }
  const std::string& output() const { return output_; }
  // With exit code 0, and nothing on stderr of the test that would be a failure.
  bool ends_well() { return child_.join(); }

 private:
  const std::string output_;
  Child child_;
};

TEST_F(JournalTest, AWatchTellsWhatHappensAndEndsWithTheMount) {
  write_file(source_ + "/a", "1");
  auto one = mount(tree_ / "journal");
  const std::string token = checkpoint(*one);
  write_file(one->mnt("before"), "1");
  Watch watch(*one, token);
  EXPECT_TRUE(wait_until([&] { return watch.tells("before", "created"); }));
  write_file(one->mnt("a"), "22");
  EXPECT_TRUE(wait_until([&] { return watch.tells("a", "data"); }));
  ASSERT_EQ(rename(one->mnt("a").c_str(), one->mnt("b").c_str()), 0);
  EXPECT_TRUE(wait_until([&] { return watch.tells("b", "renamed"); }));
  // It is told, however soon the end comes.
  write_file(one->mnt("last"), "1");
  one->stop();
  EXPECT_TRUE(watch.ends_well());
  EXPECT_TRUE(watch.tells("last", "created"));
}

// How often the watch has told exactly this.
int count_of(const std::string& output, const std::string& path, const std::string& kind) {
  std::istringstream lines(read_all(output));
  int count = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto told = parse_json(line);
    if (told.is_discarded() || told.value("path", "") != path) continue;
    const std::vector<std::string> kinds = told.at("kinds");
    count += static_cast<int>(std::count(kinds.begin(), kinds.end(), kind));
  }
  return count;
}

TEST_F(JournalTest, AWatchGoesOnWhenTheServerDiesAndTellsNothingTwice) {
  MountSettings settings;
  settings.options = {"journal=" + tree_ / "journal"};
  settings.server_dies = true;
  Mount mount(settings);
  ASSERT_TRUE(mount.ok());
  Watch watch(mount, checkpoint(mount));
  constexpr int kDeaths = 4;
  for (int i = 0; i < kDeaths; ++i) {
    const std::string name = "f" + std::to_string(i);
    write_file(mount.mnt(name), "1");
    if (i % 2 == 0) {
      ASSERT_TRUE(wait_until([&] { return watch.tells(name, "created"); })) << name;
    }
    const pid_t server = mount.server_pid();
    ASSERT_NE(server, mount.pid());
    ASSERT_EQ(kill(server, SIGKILL), 0);
    ASSERT_TRUE(wait_until(
        [&] { return mount.server_pid() != server && mount.server_pid() != mount.pid(); }));
  }
  write_file(mount.mnt("last"), "1");
  EXPECT_TRUE(wait_until([&] { return watch.tells("last", "created"); }));
  mount.stop();
  EXPECT_TRUE(watch.ends_well());
  for (int i = 0; i < kDeaths; ++i) {
    const std::string name = "f" + std::to_string(i);
    EXPECT_EQ(count_of(watch.output(), name, "created"), 1) << name;
  }
}

// A journal on a file system that is full.
class FullJournalTest : public JournalTest {
 protected:
  static constexpr int kMany = 400;

  void SetUp() override {
    JournalTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (!disk_.ok()) GTEST_SKIP() << "no disk to fill: " << disk_.why();
    journal_ = disk_ / "journal";
    write_file(source_ + "/a", "1");
  }
  void fill() const {
    const UniqueFd rest(::open(filling().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_TRUE(rest.valid());
    const std::string block(4096, 'x');
    ssize_t written = 0;
    while ((written = ::write(rest.get(), block.data(), block.size())) > 0) {
    }
    ASSERT_EQ(errno_name(errno), "ENOSPC");
    // What was written before the disk was full may still need room there.
    ASSERT_EQ(fsync(rest.get()), 0);
  }
  void make_room() const { ASSERT_EQ(unlink(filling().c_str()), 0); }
  std::string filling() const { return disk_ / "filling"; }

  void change(const Mount& mount) const {
    write_file(mount.mnt("a"), "22");
    make_dir(mount.mnt("d"));
    for (int i = 0; i < kMany; ++i) {
      write_file(mount.mnt("d/" + std::string(200, 'n') + std::to_string(i)), "1");
    }
  }
  static void expect_all(const Changes& changes) {
    EXPECT_EQ(changes.size(), 2U + kMany);
    EXPECT_THAT(changes, testing::Contains(Pair("a", "data")));
    EXPECT_THAT(changes, testing::Contains(Pair("d", "created")));
  }
  // One line that says why, or an answer that says that it is none.
  static void expect_no_answer(const Mount& mount, const std::string& token) {
    const ProgramResult result = mount.command({"dirty", mount.mnt(), "--since", token});
    EXPECT_THAT(result.exit_code, testing::AnyOf(1, 3));
    EXPECT_THAT(result.err, HasSubstr("full"));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
  // In the end the record can be written again, and nothing is missing.
  static void expect_all_in_the_end(const Mount& mount, const std::string& token) {
    EXPECT_TRUE(wait_until([&] {
      return mount.command({"dirty", mount.mnt(), "--since", token}).exit_code == 0;
    })) << mount.log();
    expect_all(dirty(mount, token));
  }

  LoopImage disk_{16 << 20, {"mkfs.ext4", "-q", "-F", "-O", "^has_journal"}};
  std::string journal_;
};

TEST_F(FullJournalTest, TheMountGoesOnAndWhatHappenedMeanwhileIsToldLater) {
  auto one = mount(journal_);
  const std::string token = checkpoint(*one);
  ASSERT_NO_FATAL_FAILURE(fill());
  change(*one);
  EXPECT_EQ(read_file(one->mnt("a")), "22");
  expect_no_answer(*one, token);
  EXPECT_EQ(one->command({"checkpoint", one->mnt()}).exit_code, 1);
  ASSERT_NO_FATAL_FAILURE(make_room());
  expect_all_in_the_end(*one, token);
  // It is as good as new.
  const std::string next = checkpoint(*one);
  write_file(one->mnt("late"), "1");
  EXPECT_THAT(dirty(*one, next), UnorderedElementsAre(Pair("late", "created")));
}

TEST_F(FullJournalTest, WhatWasNotRecordedAtTheEndIsToldByTheNextMount) {
  std::string token;
  {
    auto first = mount(journal_);
    token = checkpoint(*first);
    ASSERT_NO_FATAL_FAILURE(fill());
    change(*first);
    first->stop();
  }
  ASSERT_NO_FATAL_FAILURE(make_room());
  expect_all_in_the_end(*mount(journal_), token);
}

}  // namespace
}  // namespace passthroughfs::test
