// SPDX-License-Identifier: Apache-2.0
//
// Filesystem::observe: what an embedding program is told of changes, and what it cannot break.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>

#include "passthroughfs/filesystem.h"
#include "support/temp_tree.h"
#include "support/wait_until.h"

namespace passthroughfs {
namespace {

using testing::Contains;
using testing::IsEmpty;
using testing::Key;
using testing::Pair;
using testing::UnorderedElementsAre;

std::string kinds_of(const Change& change) {
  std::string kinds;
  for (const auto& [holds, name] :
       {std::pair{change.created, "created"}, std::pair{change.deleted, "deleted"},
        std::pair{change.data, "data"}, std::pair{change.attributes, "attributes"},
        std::pair{change.xattr, "xattr"}, std::pair{change.renamed, "renamed"}}) {
    if (holds) kinds += (kinds.empty() ? "" : ",") + std::string(name);
  }
  return change.renamed ? kinds + "<-" + change.from : kinds;
}

// Keeps what it is told.
class Told {
 public:
  void add(const Change& change) {
    const std::lock_guard lock(mutex_);
    std::string& kinds = changes_[change.path];
    kinds += (kinds.empty() ? "" : ";") + kinds_of(change);
  }
  std::map<std::string, std::string> all() const {
    const std::lock_guard lock(mutex_);
    return changes_;
  }
  bool has(const std::string& path, const std::string& kinds) const {
    const auto changes = all();
    const auto found = changes.find(path);
    return found != changes.end() && found->second == kinds;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::string> changes_;  // of a path, each report's kinds
};

class ObserverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "cannot open /dev/fuse";
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to mount without fusermount3";
    ASSERT_TRUE(filesystem_.configure("journal", "memory"));
  }
  void mount(std::function<void(const Change&)> observer) {
    filesystem_.observe(std::move(observer));
    const auto mounted = filesystem_.mount();
    ASSERT_TRUE(mounted) << mounted.error().message;
  }
  void end() {
    const auto stopped = filesystem_.stop();
    EXPECT_TRUE(stopped) << stopped.error().message;
    const auto ended = filesystem_.run();
    EXPECT_TRUE(ended) << ended.error().message;
  }
  std::string mnt(const std::string& name) const { return mountpoint_ + "/" + name; }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream file(mnt(name));
    ASSERT_TRUE(file << content << std::flush) << name;
  }

  test::TempTree tree_;
  const std::string source_ = tree_.make_dir("source");
  const std::string mountpoint_ = tree_.make_dir("mount");
  Told told_;  // before the file system, which tells it things until it is gone
  Filesystem filesystem_{source_, mountpoint_};
};

TEST_F(ObserverTest, IsToldOfChangesTheVeryFirstAmongThem) {
  std::ofstream(source_ + "/old") << "1";
  std::ofstream(source_ + "/gone") << "1";
  ASSERT_NO_FATAL_FAILURE(mount([this](const Change& change) { told_.add(change); }));
  write("first", "1");
  EXPECT_TRUE(test::wait_until([&] { return told_.has("first", "created"); }));
  write("old", "22");
  EXPECT_TRUE(test::wait_until([&] { return told_.has("old", "data"); }));
  ASSERT_EQ(rename(mnt("old").c_str(), mnt("new").c_str()), 0);
  EXPECT_TRUE(test::wait_until([&] { return told_.has("new", "renamed<-old"); }));
  ASSERT_EQ(unlink(mnt("gone").c_str()), 0);
  EXPECT_TRUE(test::wait_until([&] { return told_.has("gone", "deleted"); }));
  EXPECT_THAT(told_.all(), UnorderedElementsAre(Key("first"), Key("old"), Key("new"), Key("gone")));
  end();
}

// Between the last report and the end there is no gap.
TEST_F(ObserverTest, IsToldOfTheLastChangesBeforeTheEnd) {
  ASSERT_NO_FATAL_FAILURE(mount([this](const Change& change) { told_.add(change); }));
  write("before", "1");
  EXPECT_TRUE(test::wait_until([&] { return told_.has("before", "created"); }));
  write("last", "1");
  end();
  EXPECT_THAT(told_.all(),
              UnorderedElementsAre(Pair("before", "created"), Pair("last", "created")));
}

TEST_F(ObserverTest, IsNotToldOfWhatWasThereNorOfReads) {
  std::ofstream(source_ + "/old") << "1";
  ASSERT_NO_FATAL_FAILURE(mount([this](const Change& change) { told_.add(change); }));
  std::string text;
  std::ifstream(mnt("old")) >> text;
  EXPECT_EQ(text, "1");
  end();
  EXPECT_THAT(told_.all(), IsEmpty());
}

TEST_F(ObserverTest, ThatThrowsIsToldTheNextChange) {
  ASSERT_NO_FATAL_FAILURE(mount([this](const Change& change) {
    told_.add(change);
    if (change.path == "a") throw std::runtime_error("of no use");
    throw 1;
  }));
  for (const char* name : {"a", "b", "c"}) {
    write(name, "1");
    EXPECT_TRUE(test::wait_until([&] { return told_.has(name, "created"); })) << name;
  }
  end();
}

TEST_F(ObserverTest, ThatStallsDelaysNobodyAndIsToldTheRestAfterwards) {
  std::mutex mutex;
  std::condition_variable changed;
  bool stalls = false;
  bool goes_on = false;
  ASSERT_NO_FATAL_FAILURE(mount([&](const Change& change) {
    told_.add(change);
    std::unique_lock lock(mutex);
    stalls = true;
    changed.notify_all();
    changed.wait_for(lock, test::patience(), [&] { return goes_on; });
  }));
  write("first", "1");
  {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, test::patience(), [&] { return stalls; }));
  }
  // The call is under way, and the mount serves.
  write("kept", "1");
  write("passing", "1");
  for (int i = 0; i < 1000; ++i) write("many" + std::to_string(i), "1");
  ASSERT_EQ(unlink(mnt("passing").c_str()), 0);
  ASSERT_EQ(rename(mnt("kept").c_str(), mnt("moved").c_str()), 0);
  EXPECT_THAT(told_.all(), UnorderedElementsAre(Pair("first", "created")));
  {
    const std::lock_guard lock(mutex);
    goes_on = true;
    changed.notify_all();
  }
  // The net difference of all of it.
  EXPECT_TRUE(test::wait_until([&] { return told_.has("moved", "created"); }));
  end();
  const auto all = told_.all();
  EXPECT_EQ(all.size(), 1002U);
  EXPECT_THAT(all, Contains(Pair("many999", "created")));
}

// run() waits for a call that is under way, but the mount is gone by then. The table is read:
// looking at the mount point itself would make it busy.
TEST_F(ObserverTest, ThatStallsDoesNotKeepTheMount) {
  const auto is_mounted = [this] {
    std::ifstream table("/proc/self/mountinfo");
    for (std::string line; std::getline(table, line);) {
      if (line.find(" " + mountpoint_ + " ") != std::string::npos) return true;
    }
    return false;
  };
  bool gone = false;
  ASSERT_NO_FATAL_FAILURE(mount([&](const Change& change) {
    told_.add(change);
    gone = test::wait_until([&] { return !is_mounted(); });
  }));
  EXPECT_TRUE(is_mounted());
  write("first", "1");
  EXPECT_TRUE(test::wait_until([&] { return told_.has("first", "created"); }));
  end();
  EXPECT_TRUE(gone);
}

TEST_F(ObserverTest, IsNeverCalledWithoutARecordOfChanges) {
  ASSERT_TRUE(filesystem_.configure("journal", "off"));
  ASSERT_NO_FATAL_FAILURE(mount([this](const Change& change) { told_.add(change); }));
  write("first", "1");
  end();
  EXPECT_THAT(told_.all(), IsEmpty());
}

}  // namespace
}  // namespace passthroughfs
