// SPDX-License-Identifier: Apache-2.0
//
// Changes of a real file system, told by the kernel. Needs root.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "source/change_events.h"
#include "source/source_tree.h"
#include "support/mount_fixture.h"
#include "support/run_as.h"
#include "support/small_source.h"

namespace passthroughfs::test {
namespace {

class ChangeEventsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_ROOT();
    std::string message;
    auto tree = SourceTree::open(source_.path(), message, {.own_mount = true});
    ASSERT_TRUE(tree && tree->has_own_mount()) << message;
    tree_ = std::make_unique<SourceTree>(std::move(tree).value());
    auto events = ChangeEvents::open(tree_->root(), message);
    ASSERT_TRUE(events) << message;
    events_ = std::make_unique<ChangeEvents>(std::move(events).value());
  }
  std::string path(const std::string& name) const { return source_.path() + "/" + name; }
  // What was told since the last time, "what:name" of each: of a name, or else of an object.
  std::set<std::string> told() {
    std::set<std::string> out;
    std::vector<std::byte> room(65536);
    for (;;) {
      const auto batch = events_->read(room);
      EXPECT_TRUE(batch);
      if (!batch || batch->empty()) return out;
      for (ByteSpan rest = *batch; const auto event = next_change(rest);) {
        EXPECT_FALSE(event->lost);
        EXPECT_EQ(event->process, getpid());
        const std::string name(event->name);
        if (event->names) out.insert("name:" + name);
        if (event->data) out.insert("data:" + name);
        if (event->attributes) out.insert("attributes:" + name);
        if (event->object) objects_.push_back(*event->object);
      }
    }
  }

  const SmallSource source_{"size=4m"};
  std::unique_ptr<SourceTree> tree_;
  std::unique_ptr<ChangeEvents> events_;
  std::vector<FileHandle> objects_;
};

using Told = std::set<std::string>;

TEST_F(ChangeEventsTest, NamesDataAndAttributes) {
  EXPECT_EQ(told(), Told{});
  const int fd = ::creat(path("f").c_str(), 0644);
  EXPECT_EQ(told(), Told{"name:f"});
  ASSERT_EQ(::write(fd, "x", 1), 1);
  EXPECT_EQ(told(), Told{"data:f"});
  ::close(fd);
  EXPECT_EQ(told(), Told{"data:f"});
  EXPECT_EQ(::chmod(path("f").c_str(), 0600), 0);
  EXPECT_EQ(::setxattr(path("f").c_str(), "trusted.x", "v", 1, 0), 0);
  EXPECT_EQ(told(), Told{"attributes:f"});
  EXPECT_EQ(::truncate(path("f").c_str(), 0), 0);
  EXPECT_EQ(told(), Told{"data:f"});
  EXPECT_EQ(::mkdir(path("d").c_str(), 0755), 0);
  EXPECT_EQ(::rename(path("f").c_str(), path("d/g").c_str()), 0);
  EXPECT_EQ(told(), (Told{"name:d", "name:f", "name:g"}));
  EXPECT_EQ(::link(path("d/g").c_str(), path("h").c_str()), 0);
  EXPECT_TRUE(told().contains("name:h"));
  EXPECT_EQ(::unlink(path("h").c_str()), 0);
  EXPECT_TRUE(told().contains("name:h"));
  EXPECT_EQ(::chmod(path("d").c_str(), 0700), 0);
  EXPECT_EQ(told(), Told{"attributes:."});
}

TEST_F(ChangeEventsTest, TheObjectIsFoundByWhatIsTold) {
  ::close(::creat(path("f").c_str(), 0644));
  (void)told();
  objects_.clear();
  EXPECT_EQ(::chmod(path("f").c_str(), 0600), 0);
  (void)told();
  ASSERT_EQ(objects_.size(), 1U);
  const auto found = events_->find(objects_[0]);
  ASSERT_TRUE(found);
  struct stat by_handle {
  }, by_name{};
  ASSERT_EQ(::fstat(found->get(), &by_handle), 0);
  ASSERT_EQ(::stat(path("f").c_str(), &by_name), 0);
  EXPECT_EQ(by_handle.st_ino, by_name.st_ino);
}

// What the mount's own clients write in passthrough has their numbers as the writer's.
TEST_F(ChangeEventsTest, DataThatComesThroughTheOwnMountIsNotTold) {
  ::close(::creat(path("f").c_str(), 0644));
  (void)told();
  const UniqueFd own(::openat(tree_->root().get(), "f", O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(own.valid());
  ASSERT_EQ(::write(own.get(), "content", 7), 7);
  EXPECT_FALSE(told().contains("data:f"));
  const UniqueFd others(::open(path("f").c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(::write(others.get(), "other", 5), 5);
  EXPECT_EQ(told(), Told{"data:f"});
}

TEST_F(ChangeEventsTest, WhatWasNotReadIsThereForWhoGoesOn) {
  ::close(::creat(path("f").c_str(), 0644));
  auto again = ChangeEvents::adopt(UniqueFd(::dup(events_->descriptor())), tree_->root());
  ASSERT_TRUE(again);
  *events_ = std::move(again).value();
  EXPECT_TRUE(told().contains("name:f"));
}

TEST_F(ChangeEventsTest, AnotherDescriptorIsNotTakenForOne) {
  UniqueFd other(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int number = other.get();
  const auto taken = ChangeEvents::adopt(std::move(other), tree_->root());
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error(), EBADF);
  EXPECT_EQ(::fcntl(number, F_GETFD), FD_CLOEXEC) << "and it is left open";
  ::close(number);
}

TEST_F(ChangeEventsTest, WithoutTheRightItSaysSo) {
  run_as(kAlice, [&] {
    std::string message;
    const auto events = ChangeEvents::open(tree_->root(), message);
    ASSERT_FALSE(events);
    EXPECT_EQ(events.error(), EPERM);
    EXPECT_EQ(message.substr(0, 10), "fanotify: ") << message;
  });
}

}  // namespace
}  // namespace passthroughfs::test
