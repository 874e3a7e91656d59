// SPDX-License-Identifier: Apache-2.0
#include "changes/census.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/xattr.h>

#include <fstream>
#include <memory>
#include <string>

#include "changes/digest.h"
#include "changes/look.h"
#include "changes/recorder.h"
#include "changes/source_traits.h"
#include "support/temp_tree.h"
#include "table/fd_budget.h"

namespace passthroughfs {
namespace {

constexpr std::uint32_t kCapacity = 1U << 10;

// What a journal is made of, without its thread: a test says when records are brought over.
class CensusTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(tree_ / "source/a") << "text";
    std::string message;
    source_ = std::make_unique<SourceTree>(SourceTree::open(tree_ / "source", message).value());
    inodes_ = InodeTable::create(*source_, budget_, kCapacity).value();
    log_ = ChangeLog::in_memory().value();
    tracker_ = ChangeTracker::create(*log_, *inodes_, kCapacity, probe_source(*source_)).value();
    store_ = std::move(ChangeStore::open("")).value();
    places_ = std::make_unique<Places>(*store_, *source_, *inodes_);
    census_ = std::make_unique<Census>(*store_, *places_, *source_, *tracker_);
    recorder_ = std::make_unique<Recorder>(*store_, *places_, *inodes_, *census_);
    recorder_->keep_known(true);
    log_->set_epoch(1);
    store_->begin();
    store_->set_root(key_of(*look_at(source_->root(), "")));
    census_->begin_counting();
    while (census_->step()) {
    }
  }
  void TearDown() override {
    if (store_) store_->abandon();
  }
  void drain() {
    const std::uint64_t end =
        log_->read(log_->position(), [this](ByteSpan bytes) { (void)decode(bytes, *recorder_); });
    log_->release(end);
  }
  InodeRef node(const char* name) {
    UniqueFd fd(::openat(source_->root().get(), name, O_PATH | O_CLOEXEC));
    const auto st = look_at(fd.borrow(), "");
    return inodes_->lookup(std::move(fd), {key_of(*st).device, key_of(*st).ino}, S_IFREG).value();
  }

  test::TempTree tree_;
  const std::string directory_ = tree_.make_dir("source");
  FdBudget budget_{64};
  std::unique_ptr<SourceTree> source_;
  std::unique_ptr<InodeTable> inodes_;
  std::unique_ptr<ChangeLog> log_;
  std::unique_ptr<ChangeTracker> tracker_;
  std::unique_ptr<ChangeStore> store_;
  std::unique_ptr<Places> places_;
  std::unique_ptr<Census> census_;
  std::unique_ptr<Recorder> recorder_;
};

// An operation says once in an epoch what it will change, and then may take its time.
TEST_F(CensusTest, WhatIsBeingChangedDuringALookIsLookedAtAgain) {
  const ObjectId object = store_->at({ChangeStore::kRoot, "a"});
  const std::string path = tree_ / "source/a";
  {
    const InodeRef inode = node("a");
    const InodeChange change(tracker_.get(), inode, inode.fd(), mark::kXattr);
    drain();
    census_->refresh(1);
    ASSERT_EQ(setxattr(path.c_str(), "user.a", "1", 1, 0), 0);
  }
  log_->set_epoch(2);
  drain();
  census_->refresh(2);
  EXPECT_EQ(store_->known(object).xattrs, digest_xattrs(source_->root(), "a"));
}

}  // namespace
}  // namespace passthroughfs
