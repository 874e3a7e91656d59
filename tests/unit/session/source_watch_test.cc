// SPDX-License-Identifier: Apache-2.0
//
// What the kernel is told when others change the source, with the kernel's end in the test's hands.
// Needs root.
#include "session/source_watch.h"

#include <fcntl.h>
#include <linux/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "channel/dev_fuse.h"
#include "source/sys.h"
#include "support/fake_kernel.h"
#include "support/mount_fixture.h"
#include "support/run_as.h"
#include "support/small_source.h"

namespace passthroughfs::test {
namespace {

class SourceWatchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    PFS_NEEDS_ROOT();
    ::close(::creat(path("f").c_str(), 0644));
    std::string message;
    auto source = SourceTree::open(small_.path(), message, {.own_mount = own_mount()});
    ASSERT_TRUE(source) << message;
    state_ = std::make_unique<MountState>(MountConfig{}, std::move(source).value(), 1024);
    auto inodes = InodeTable::create(state_->source, state_->budget, 1024);
    ASSERT_TRUE(inodes);
    state_->inodes = std::move(inodes).value();
    channel_ = make_dev_fuse_channel(kernel_.take_device(), 65536);
  }
  void TearDown() override {
    watch_.reset();
    kernel_.unmount();
  }
  virtual bool own_mount() const { return true; }

  std::string path(const std::string& name) const { return small_.path() + "/" + name; }
  void start(bool again = false) {
    watch_.reset();
    watch_ = std::make_unique<SourceWatch>(*state_, *channel_, dropping_, memory_);
    watch_->start(again);
  }
  bool covers() const { return state_->coherence.covers(state_->source.root_device()); }
  NodeId know(const std::string& name) {
    UniqueFd fd = state_->source.child(state_->source.root(), name.c_str()).value();
    const struct statx st = sys::stat_at(fd.borrow()).value();
    const InodeKey key{device_number(st.stx_dev_major, st.stx_dev_minor), st.stx_ino};
    return state_->inodes->lookup(std::move(fd), key, st.stx_mode & S_IFMT).value().id();
  }
  // The end of the watch as of one whose process dies: the descriptor stays open.
  int leave() {
    const int left = dup(SourceWatch::descriptor_in(memory_));
    watch_.reset();
    SourceWatch::set_descriptor(memory_, left);
    return left;
  }
  // Does it as a process that is not the watch's.
  static void as_another(const std::function<void()>& change) { in_child(change); }
  // "entry NODE NAME", "inode NODE", "pages NODE", "epoch"; "nothing" in time.
  std::string told(std::chrono::milliseconds patience = FakeKernel::kPatience) {
    const auto said = kernel_.wait_notification(patience);
    if (!said) return "nothing";
    const auto number = [](std::uint64_t node) { return std::to_string(node); };
    switch (said->code) {
      case wire::Notify::inval_entry: {
        wire::NotifyInvalEntryOut out{};
        std::memcpy(&out, said->payload.data(), sizeof out);
        const auto* name = reinterpret_cast<const char*>(said->payload.data()) + sizeof out;
        EXPECT_EQ(said->payload.size(), sizeof out + out.namelen + 1);
        return "entry " + number(out.parent) + " " + std::string(name, out.namelen);
      }
      case wire::Notify::inval_inode: {
        wire::NotifyInvalInodeOut out{};
        std::memcpy(&out, said->payload.data(), sizeof out);
        return (out.off < 0 ? "inode " : "pages ") + number(out.ino);
      }
      case wire::Notify::inc_epoch: return "epoch";
      default: return "something else";
    }
  }

  const SmallSource small_{"size=4m"};
  FakeKernel kernel_;
  std::unique_ptr<MountState> state_;
  std::unique_ptr<Channel> channel_;
  Dropping dropping_{{}};
  Region memory_ = Region::create("watch", SourceWatch::kMemoryBytes).value();
  std::unique_ptr<SourceWatch> watch_;
};

TEST_F(SourceWatchTest, ANameOfAnotherIsDroppedWithTheListingThatHasIt) {
  start();
  EXPECT_EQ(watch_->obstacle(), "");
  EXPECT_TRUE(covers());
  as_another([&] { EXPECT_EQ(mkdir(path("d").c_str(), 0755), 0); });
  EXPECT_EQ(told(), "entry 1 d");
  EXPECT_EQ(told(), "pages 1");
}

TEST_F(SourceWatchTest, AttributesAndContentOfKnownFilesAreDropped) {
  const std::string node = std::to_string(know("f"));
  start();
  as_another([&] { EXPECT_EQ(chmod(path("f").c_str(), 0600), 0); });
  EXPECT_EQ(told(), "inode " + node);
  as_another([&] { EXPECT_EQ(truncate(path("f").c_str(), 10), 0); });
  EXPECT_EQ(told(), "pages " + node);
}

TEST_F(SourceWatchTest, OwnChangesAreKnownAndUnknownFilesAreNobodys) {
  start();
  EXPECT_EQ(mkdir(path("own").c_str(), 0755), 0);
  as_another([&] {
    EXPECT_EQ(chmod(path("f").c_str(), 0600), 0);  // the kernel has not looked it up
    EXPECT_EQ(mkdir(path("d").c_str(), 0755), 0);
  });
  EXPECT_EQ(told(), "entry 1 d");
}

// A name that is looked up meanwhile may have been looked at before.
TEST_F(SourceWatchTest, WhoLooksMeanwhileNoticesThatSomethingWasHeard) {
  start();
  const std::uint64_t before = state_->coherence.heard();
  EXPECT_EQ(mkdir(path("own").c_str(), 0755), 0);
  as_another([&] { EXPECT_EQ(chmod(path("f").c_str(), 0600), 0); });
  EXPECT_TRUE(wait_until([&] { return state_->coherence.heard() != before; }));
}

TEST_F(SourceWatchTest, NamesAreKeptForEverOnlyWhereAllCanBeDroppedAtOnce) {
  start();
  EXPECT_FALSE(state_->coherence.covers_names(state_->source.root_device()));
  EXPECT_EQ(state_->validity_on(state_->source.root_device()).attributes, kForEver);
  EXPECT_EQ(state_->validity_on(state_->source.root_device()).entry, 1U);
  SourceWatch::prepare(*state_, *channel_, memory_);
  EXPECT_EQ(told(), "epoch");
  start();
  EXPECT_EQ(state_->validity_on(state_->source.root_device()).entry, kForEver);
  EXPECT_EQ(state_->validity_on(state_->source.root_device()).negative, kForEver);
  EXPECT_EQ(state_->validity_on(state_->source.root_device() + 1).entry, 1U);
}

TEST_F(SourceWatchTest, WhatADeadProcessHasNotReadIsToldByTheNext) {
  start();
  watch_->stop();
  as_another([&] { EXPECT_EQ(mkdir(path("d").c_str(), 0755), 0); });
  (void)leave();
  start(true);
  EXPECT_EQ(told(), "entry 1 d");
  EXPECT_TRUE(covers());
}

// Read by a process that died before it passed them on.
TEST_F(SourceWatchTest, WhatADeadProcessHasReadIsToldByTheNext) {
  start();
  watch_->stop();
  as_another([&] { EXPECT_EQ(mkdir(path("d").c_str(), 0755), 0); });
  const int left = leave();
  auto* room = memory_.data() + sizeof(WatchRecord);
  ASSERT_GT(read(left, room, memory_.size() - sizeof(WatchRecord)), 0);
  start(true);
  EXPECT_EQ(told(), "entry 1 d");
}

TEST_F(SourceWatchTest, WithoutTheEventsOfBeforeEverythingIsDropped) {
  const std::string node = std::to_string(know("f"));
  SourceWatch::prepare(*state_, *channel_, memory_);
  EXPECT_EQ(told(), "epoch");
  start();
  SourceWatch::set_descriptor(memory_, -1);
  start(true);
  EXPECT_EQ(told(), "epoch");
  EXPECT_EQ(told(), "inode 1");
  EXPECT_EQ(told(), "inode " + node);
  EXPECT_TRUE(covers()) << "and from then on all is told again";
}

TEST_F(SourceWatchTest, ALossEndsItAndDropsEverything) {
  const std::string node = std::to_string(know("f"));
  SourceWatch::prepare(*state_, *channel_, memory_);
  EXPECT_EQ(told(), "epoch");
  fanotify_event_metadata overflow{};
  overflow.event_len = overflow.metadata_len = sizeof overflow;
  overflow.vers = FANOTIFY_METADATA_VERSION;
  overflow.mask = FAN_Q_OVERFLOW;
  overflow.fd = FAN_NOFD;
  std::memcpy(memory_.data() + sizeof(WatchRecord), &overflow, sizeof overflow);
  const std::uint64_t before = state_->coherence.heard();
  start();
  EXPECT_EQ(told(), "epoch");
  EXPECT_EQ(told(), "inode 1");
  EXPECT_EQ(told(), "inode " + node);
  EXPECT_FALSE(covers());
  EXPECT_NE(watch_->obstacle(), "");
  EXPECT_NE(state_->coherence.heard(), before);
  start(true);
  EXPECT_FALSE(covers()) << "the next process does not begin again";
}

class WithoutOwnMount : public SourceWatchTest {
  bool own_mount() const override { return false; }
};

TEST_F(WithoutOwnMount, NothingIsWatched) {
  start();
  EXPECT_FALSE(covers());
  EXPECT_EQ(watch_->obstacle(), "needs CAP_SYS_ADMIN");
}

// The kernel was told nothing for ever, so nothing of that has to be dropped.
TEST_F(WithoutOwnMount, TheNextProcessSaysTheSame) {
  start();
  start(true);
  EXPECT_EQ(watch_->obstacle(), "needs CAP_SYS_ADMIN");
  as_another([&] { EXPECT_EQ(mkdir(path("d").c_str(), 0755), 0); });
  watch_.reset();
  (void)channel_->notify(wire::Notify::inc_epoch, {});
  EXPECT_EQ(told(), "epoch") << "and nothing before it";
}

class RemoteSource : public SourceWatchTest {};

TEST_F(RemoteSource, NothingIsWatched) {
  state_->remote_source = true;
  start();
  EXPECT_FALSE(covers());
  EXPECT_NE(watch_->obstacle().find("other machines"), std::string::npos);
}

// A kernel that does not know nodes yet, whose answers to LOOKUP are on their way.
class SlowKernel final : public Channel {
 public:
  explicit SlowKernel(int unknown) : unknown_(unknown) {}
  Result<std::unique_ptr<Queue>> open_queue(int, MutableByteSpan) override { return Err(ENOSYS); }
  Result<void> notify(wire::Notify code, std::span<const ByteSpan>) override {
    if (!dropping) outside = true;
    if (code != wire::Notify::inval_inode) return ok();
    if (unknown_.fetch_sub(1) > 0) return Err(ENOENT);
    told = true;
    return ok();
  }
  Result<std::int32_t> open_backing(BorrowedFd) override { return Err(ENOTTY); }
  Result<void> close_backing(std::int32_t) override { return Err(ENOTTY); }
  void wake_all() noexcept override {}
  [[nodiscard]] int descriptor() const noexcept override { return -1; }
  [[nodiscard]] const char* name() const noexcept override { return "slow"; }

  std::atomic<bool> dropping{false}, told{false};
  std::atomic<bool> outside{false};  // something was told while nobody knew that it may wait

 private:
  std::atomic<int> unknown_;
};

TEST_F(SourceWatchTest, WhatTheKernelDoesNotKnowYetIsToldUntilItDoes) {
  (void)know("f");
  SlowKernel kernel(5);
  Dropping dropping([&](bool begun) { kernel.dropping = begun; });
  SourceWatch watch(*state_, kernel, dropping, memory_);
  watch.start(false);
  as_another([&] { EXPECT_EQ(chmod(path("f").c_str(), 0600), 0); });
  EXPECT_TRUE(wait_until([&] { return kernel.told.load(); }));
  watch.stop();
  EXPECT_FALSE(kernel.outside);
  EXPECT_FALSE(kernel.dropping);
}

}  // namespace
}  // namespace passthroughfs::test
