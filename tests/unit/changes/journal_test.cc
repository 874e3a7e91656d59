// SPDX-License-Identifier: Apache-2.0
#include "changes/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>

#include "support/wait_until.h"
#include "tracked_tree.h"

namespace passthroughfs {
namespace {

using test::TrackedTree;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

TEST(JournalTest, NothingIsToldOfASourceThatNobodyChanges) {
  TrackedTree tree;
  EXPECT_THAT(tree.since(std::nullopt), IsEmpty());
}

TEST(JournalTest, WhatWasMadeIsToldAndWhatCameAndWentIsNot) {
  TrackedTree tree;
  ASSERT_TRUE(tree.create("a", "text"));
  ASSERT_TRUE(tree.mkdir("d"));
  ASSERT_TRUE(tree.create("d/b"));
  ASSERT_TRUE(tree.create("passing"));
  ASSERT_TRUE(tree.remove("passing"));
  EXPECT_THAT(
      tree.since(std::nullopt),
      UnorderedElementsAre(Pair("a", "created"), Pair("d", "created"), Pair("d/b", "created")));
}

TEST(JournalTest, ATokenSeparatesWhatWasBefore) {
  TrackedTree tree;
  ASSERT_TRUE(tree.create("a", "text"));
  ASSERT_TRUE(tree.create("b", "text"));
  const std::string token = tree.checkpoint();
  EXPECT_THAT(tree.since(token), IsEmpty());
  ASSERT_TRUE(tree.write("a", "other"));
  ASSERT_TRUE(tree.remove("b"));
  EXPECT_THAT(tree.since(token), UnorderedElementsAre(Pair("a", "data"), Pair("b", "deleted")));
  EXPECT_THAT(tree.since(std::nullopt), UnorderedElementsAre(Pair("a", "created")));
}

TEST(JournalTest, ACheckpointWithoutAChangeIsTheSameMoment) {
  TrackedTree tree;
  ASSERT_TRUE(tree.create("a"));
  const std::string token = tree.checkpoint();
  EXPECT_EQ(tree.checkpoint(), token);
  ASSERT_TRUE(tree.chmod("a", 0600));
  EXPECT_NE(tree.checkpoint(), token);
}

TEST(JournalTest, ARenamedDirectoryIsOneChangeOrAllOfItsPaths) {
  TrackedTree tree;
  ASSERT_TRUE(tree.mkdir("old"));
  ASSERT_TRUE(tree.create("old/touched", "1"));
  ASSERT_TRUE(tree.create("old/gone", "1"));
  ASSERT_TRUE(tree.create("old/still", "1"));
  const std::string token = tree.checkpoint();
  ASSERT_TRUE(tree.write("old/touched", "22"));
  ASSERT_TRUE(tree.rename("old", "new"));
  ASSERT_TRUE(tree.remove("new/gone"));
  ASSERT_TRUE(tree.create("new/more"));
  EXPECT_THAT(tree.since(token),
              UnorderedElementsAre(Pair("new", "renamed from old"), Pair("new/touched", "data"),
                                   Pair("old/gone", "deleted"), Pair("new/more", "created")));
  EXPECT_THAT(tree.since(token, false),
              UnorderedElementsAre(Pair("new", "created"), Pair("new/touched", "created"),
                                   Pair("new/still", "created"), Pair("new/more", "created"),
                                   Pair("old", "deleted"), Pair("old/touched", "deleted"),
                                   Pair("old/still", "deleted"), Pair("old/gone", "deleted")));
}

TEST(JournalTest, MovingBackIsNoChange) {
  TrackedTree tree;
  ASSERT_TRUE(tree.mkdir("d"));
  ASSERT_TRUE(tree.create("d/a", "1"));
  const std::string token = tree.checkpoint();
  ASSERT_TRUE(tree.rename("d/a", "b"));
  ASSERT_TRUE(tree.rename("b", "d/a"));
  ASSERT_TRUE(tree.chmod("d/a", 0600));
  ASSERT_TRUE(tree.chmod("d/a", 0644));
  EXPECT_THAT(tree.since(token), IsEmpty());
  EXPECT_THAT(tree.since(token, false), IsEmpty());
}

TEST(JournalTest, ReplacedExchangedAndChained) {
  TrackedTree tree;
  for (const char* name : {"file", "x", "y", "first"}) ASSERT_TRUE(tree.create(name, name));
  const std::string token = tree.checkpoint();
  ASSERT_TRUE(tree.create("file.tmp", "new content"));
  ASSERT_TRUE(tree.rename("file.tmp", "file"));
  ASSERT_TRUE(tree.rename("x", "y", RENAME_EXCHANGE));
  ASSERT_TRUE(tree.rename("first", "second"));
  ASSERT_TRUE(tree.rename("second", "third"));
  EXPECT_THAT(
      tree.since(token),
      UnorderedElementsAre(Pair("file", "data"), Pair("x", "renamed from y"),
                           Pair("y", "renamed from x"), Pair("third", "renamed from first")));
  EXPECT_THAT(tree.since(token, false),
              UnorderedElementsAre(Pair("file", "data"), Pair("x", "data"), Pair("y", "data"),
                                   Pair("third", "created"), Pair("first", "deleted")));
}

TEST(JournalTest, AChangeOfAFileWithSeveralNamesIsToldUnderAll) {
  TrackedTree tree;
  // One name the journal has seen made, the other one was there before it.
  std::filesystem::create_directory(tree.path("d"));
  std::ofstream(tree.path("a")) << "text";
  std::filesystem::create_hard_link(tree.path("a"), tree.path("d/unseen"));
  ASSERT_TRUE(tree.link("a", "b"));
  const std::string token = tree.checkpoint();
  ASSERT_TRUE(tree.write("b", "other"));
  EXPECT_THAT(tree.since(token),
              UnorderedElementsAre(Pair("a", "data"), Pair("b", "data"), Pair("d/unseen", "data")));
}

TEST(JournalTest, AFileThatIsWrittenUnseenIsToldAndOneThatIsNotIsNot) {
  TrackedTree tree;
  ASSERT_TRUE(tree.create("written", "1"));
  ASSERT_TRUE(tree.create("still", "1"));
  const std::string first = tree.checkpoint();
  tree.opens("written", false);
  tree.opens("still", true);
  EXPECT_THAT(tree.since(first), IsEmpty());
  std::ofstream(tree.path("written")) << "2";
  EXPECT_THAT(tree.since(first), UnorderedElementsAre(Pair("written", "data")));
  // Both are still open.
  const std::string second = tree.checkpoint();
  EXPECT_THAT(tree.since(second), IsEmpty());
  std::ofstream(tree.path("written")) << "3";
  EXPECT_THAT(tree.since(second), UnorderedElementsAre(Pair("written", "data")));
}

TEST(JournalTest, TokensOutliveARestart) {
  TrackedTree tree;
  ASSERT_TRUE(tree.create("a", "1"));
  const std::string token = tree.checkpoint();
  ASSERT_TRUE(tree.write("a", "2"));
  tree.restart();
  ASSERT_TRUE(tree.create("b"));
  EXPECT_THAT(tree.since(token), UnorderedElementsAre(Pair("a", "data"), Pair("b", "created")));
  EXPECT_THAT(tree.since(std::nullopt), UnorderedElementsAre(Pair("b", "created")));
}

TEST(JournalTest, ATokenOfTheMountsOwnBeginningOutlivesARestart) {
  TrackedTree tree;
  const std::string token = tree.checkpoint();
  ASSERT_TRUE(tree.create("a"));
  tree.restart();
  EXPECT_THAT(tree.since(token), UnorderedElementsAre(Pair("a", "created")));
}

TEST(JournalTest, TokensOutliveBeingKilled) {
  TrackedTree tree;
  ASSERT_TRUE(tree.create("a", "1"));
  ASSERT_TRUE(tree.mkdir("d"));
  const std::string token = tree.checkpoint();
  ASSERT_TRUE(tree.write("a", "2"));
  ASSERT_TRUE(tree.create("d/new"));
  tree.kill();
  ASSERT_TRUE(tree.create("b"));
  EXPECT_THAT(tree.since(token), UnorderedElementsAre(Pair("a", "data"), Pair("b", "created"),
                                                      Pair("d/new", "created")));
}

// The source is walked through in the background.
[[nodiscard]] bool source_is_known(TrackedTree& tree) {
  return test::wait_until([&] { return tree.journal().knows_source(); });
}

TEST(JournalTest, WhatChangedWhileNothingWasMountedIsToldToo) {
  TrackedTree tree;
  ASSERT_TRUE(tree.mkdir("d"));
  ASSERT_TRUE(tree.mkdir("moved"));
  for (const char* name : {"a", "still", "gone", "d/inside", "moved/inside"}) {
    ASSERT_TRUE(tree.create(name, name));
  }
  const std::string token = tree.checkpoint();
  ASSERT_TRUE(source_is_known(tree));
  // Once more, so that it is compared and not only counted.
  tree.restart();
  EXPECT_THAT(tree.since(token), IsEmpty());
  ASSERT_TRUE(source_is_known(tree));
  tree.journal().stop();
  std::ofstream(tree.path("a")) << "changed";
  std::ofstream(tree.path("new")) << "new";
  std::filesystem::remove(tree.path("gone"));
  std::filesystem::remove_all(tree.path("d"));
  std::filesystem::rename(tree.path("moved"), tree.path("elsewhere"));
  tree.restart();
  const ChangeReport report = tree.report(token, false);
  EXPECT_TRUE(report.complete) << report.reason;
  EXPECT_THAT(
      tree.since(token, false),
      UnorderedElementsAre(Pair("a", "data"), Pair("new", "created"), Pair("gone", "deleted"),
                           Pair("d", "deleted"), Pair("d/inside", "deleted"),
                           Pair("moved", "deleted"), Pair("moved/inside", "deleted"),
                           Pair("elsewhere", "created"), Pair("elsewhere/inside", "created")));
}

TEST(JournalTest, APowerLossLosesTheLogAndYetNothingIsMissed) {
  TrackedTree tree;
  for (const char* name : {"a", "b", "gone"}) ASSERT_TRUE(tree.create(name, name));
  const std::string token = tree.checkpoint();
  ASSERT_TRUE(source_is_known(tree));
  ASSERT_TRUE(tree.write("a", "changed"));
  ASSERT_TRUE(tree.create("new", "1"));
  ASSERT_TRUE(tree.remove("gone"));
  tree.kill(true);
  const ChangeReport report = tree.report(token);
  EXPECT_TRUE(report.complete) << report.reason;
  EXPECT_THAT(tree.since(token), UnorderedElementsAre(Pair("a", "data"), Pair("new", "created"),
                                                      Pair("gone", "deleted")));
}

// The clock of the file system has moved on, so that times tell what was before from what comes.
[[nodiscard]] bool clock_ticks() {
  const auto now = [] {
    timespec time{};
    (void)::clock_gettime(CLOCK_REALTIME_COARSE, &time);
    return time.tv_sec * 1'000'000'000 + time.tv_nsec;
  };
  constexpr std::int64_t kTick = 20'000'000;  // what the journal takes it for
  const std::int64_t from = now();
  return test::wait_until([&] { return now() > from + 2 * kTick; });
}

TEST(JournalTest, WhatCannotBeKnownIsSaidToBeIncomplete) {
  TrackedTree tree(true, test::TempTree::Medium::kDisk, false);
  ASSERT_TRUE(tree.mkdir("d"));
  for (const char* name : {"d/changed", "d/gone", "still"}) ASSERT_TRUE(tree.create(name, name));
  const std::string token = tree.checkpoint();
  ASSERT_TRUE(clock_ticks());
  tree.journal().stop();
  ASSERT_FALSE(tree.journal().knows_source());
  ASSERT_TRUE(clock_ticks());
  std::ofstream(tree.path("d/changed")) << "other";
  std::filesystem::remove(tree.path("d/gone"));
  tree.restart();
  const ChangeReport report = tree.report(token);
  EXPECT_FALSE(report.complete);
  EXPECT_THAT(report.reason, HasSubstr("names in 'd' were changed"));
  EXPECT_THAT(tree.since(token), UnorderedElementsAre(Pair("d/changed", "data,attributes,xattr")));
}

// A directory that is being renamed just then, and the log does not say so yet.
TEST(JournalTest, WhatCannotBeFoundAsAnEpochBeginsIsLookedAtLater) {
  TrackedTree tree;
  ASSERT_TRUE(tree.mkdir("d"));
  for (const char* name : {"d/gone", "d/mode"}) ASSERT_TRUE(tree.create(name, name));
  ASSERT_TRUE(tree.chmod("d/mode", 0600));
  const std::string first = tree.checkpoint();
  ASSERT_TRUE(source_is_known(tree));
  ASSERT_TRUE(tree.create("d/new"));
  ASSERT_TRUE(tree.chmod("d/mode", 0640));
  std::filesystem::rename(tree.path("d"), tree.path("../on the way"));
  const std::string token = tree.checkpoint();
  ASSERT_NE(token, first);
  std::filesystem::rename(tree.path("../on the way"), tree.path("d"));
  tree.journal().stop();
  std::filesystem::remove(tree.path("d/new"));
  std::filesystem::remove(tree.path("d/gone"));
  std::filesystem::permissions(tree.path("d/mode"), std::filesystem::perms{0600});
  tree.restart();
  EXPECT_THAT(tree.since(token),
              UnorderedElementsAre(Pair("d/new", "deleted"), Pair("d/gone", "deleted"),
                                   Pair("d/mode", "data,attributes")));
}

TEST(JournalTest, TokensOfOthersAreRefused) {
  TrackedTree one;
  TrackedTree other;
  const std::string token = other.checkpoint();
  const auto refused = [&](const std::string& text) {
    auto report = one.journal().since(text, true);
    return report ? std::string("accepted") : report.error().message;
  };
  EXPECT_THAT(refused(token), HasSubstr("another journal"));
  EXPECT_THAT(refused("nonsense"), HasSubstr("not a token"));
  EXPECT_THAT(refused(""), HasSubstr("not a token"));
  EXPECT_THAT(refused(one.checkpoint() + "0"), HasSubstr("never given out"));
}

TEST(JournalTest, ForgottenTokensAreRefused) {
  TrackedTree tree;
  const std::string old = tree.checkpoint();
  ASSERT_TRUE(tree.create("a"));
  const std::string token = tree.checkpoint();
  ASSERT_TRUE(tree.create("b"));
  ASSERT_TRUE(tree.journal().forget_before(token));
  EXPECT_THAT(tree.since(token), UnorderedElementsAre(Pair("b", "created")));
  auto refused = tree.journal().since(old, true);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ENOENT);
  // Nor can it be told what has changed since the mount was made.
  auto since_mount = tree.journal().since(std::nullopt, true);
  ASSERT_FALSE(since_mount);
  EXPECT_EQ(since_mount.error().code, ENOENT);
}

// A report may look at a directory that is being removed, when the log does not have all of it yet.
TEST(JournalTest, AReportAmidARemovalLosesNothing) {
  TrackedTree tree;
  constexpr int kDirectories = 60;
  for (int i = 0; i < kDirectories; ++i) {
    const std::string directory = "d" + std::to_string(i);
    ASSERT_TRUE(tree.mkdir(directory));
    for (int j = 0; j < 5; ++j) ASSERT_TRUE(tree.create(directory + "/" + std::to_string(j), "1"));
  }
  const std::string token = tree.checkpoint();
  std::atomic<bool> ended = false;
  std::thread asking([&] {
    while (!ended) (void)tree.report(token, false);
  });
  for (int i = 0; i < kDirectories; ++i) {
    const std::string directory = "d" + std::to_string(i);
    for (int j = 0; j < 5; ++j) {
      EXPECT_TRUE(tree.write(directory + "/" + std::to_string(j), "22"));
      EXPECT_TRUE(tree.remove(directory + "/" + std::to_string(j)));
    }
    EXPECT_TRUE(tree.remove(directory));
  }
  ended = true;
  asking.join();
  EXPECT_EQ(tree.since(token, false).size(), static_cast<std::size_t>(kDirectories) * 6);
}

TEST(JournalTest, AForeignFileIsRefusedAndLeftAlone) {
  TrackedTree tree;
  const std::string file = tree.journal_file() + "2";
  std::ofstream(file) << "something else entirely, and more than a hundred bytes of it, "
                         "so that it could be a database by its size alone, which it is not.";
  const auto before = std::filesystem::last_write_time(file);
  auto store = ChangeStore::open(file);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, EINVAL);
  EXPECT_EQ(std::filesystem::last_write_time(file), before);
}

}  // namespace
}  // namespace passthroughfs
