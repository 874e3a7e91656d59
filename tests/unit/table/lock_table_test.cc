// SPDX-License-Identifier: Apache-2.0
//
// What depends on how many wait; the locks themselves are tested on mounts and in session_test.
#include "table/lock_table.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <map>
#include <memory>

#include "answers.h"
#include "table_fixture.h"

namespace passthroughfs {
namespace {

using test::Answers;

class LockTableTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // Each owner of a lock has a descriptor.
    rlimit limit{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < kMany + 500) GTEST_SKIP() << "needs more descriptors";
    auto handles = HandleTable::create(tree_.inodes(), 1024);
    ASSERT_TRUE(handles);
    handles_ = std::move(handles).value();
    tree_.make_files(1);
    auto inode = tree_.look_up("file0");
    ASSERT_TRUE(inode);
    node_ = inode->id();
    HandleTable::Opened opened;
    opened.fd = UniqueFd(::open(tree_.path("file0").c_str(), O_RDWR | O_CLOEXEC));
    opened.flags = O_RDWR;
    auto fh = handles_->add(*inode, std::move(opened));
    ASSERT_TRUE(fh);
    fh_ = *fh;
  }

  [[nodiscard]] LockClaim claim(std::uint64_t owner, int type, std::uint64_t start,
                                std::uint64_t end) const {
    LockClaim out;
    out.node = node_;
    out.fh = fh_;
    out.owner = owner;
    out.lock.type = static_cast<std::uint32_t>(type);
    out.lock.start = start;
    out.lock.end = end;
    return out;
  }
  void lock(const LockClaim& wanted) {
    const auto done = locks_->set(wanted, handles_->get(fh_, node_).value(), tree_.source());
    EXPECT_TRUE(done) << done.error().to_string();
  }
  // The request's number.
  std::uint64_t wait(const LockClaim& wanted) {
    unique_ += 2;
    locks_->set_or_wait(wanted, handles_->get(fh_, node_).value(), tree_.source(),
                        wire::Reply(answers_, unique_, 33), [] { return false; });
    return unique_;
  }
  // -1: not answered.
  int answer(std::uint64_t unique) const {
    const auto found = answers_.errors.find(unique);
    return found == answers_.errors.end() ? -1 : found->second;
  }

  static constexpr std::uint64_t kMany = 2000;

  test::TableTree tree_{8192};
  std::unique_ptr<HandleTable> handles_;
  Answers answers_;
  std::unique_ptr<LockTable> locks_ = std::make_unique<LockTable>();
  NodeId node_ = 0;
  std::uint64_t fh_ = 0;
  std::uint64_t unique_ = 0;
};

// Owner n holds byte n and waits for byte n+1: whoever joins has the whole chain before him.
TEST_F(LockTableTest, ALongChainIsFollowedInAsManySteps) {
  for (std::uint64_t n = 1; n <= kMany; ++n) lock(claim(n, F_WRLCK, n, n));
  for (std::uint64_t n = kMany - 1; n >= 1; --n) {
    ASSERT_EQ(answer(wait(claim(n, F_WRLCK, n + 1, n + 1))), -1) << n;
  }
  const auto before = locks_->work();
  EXPECT_EQ(answer(wait(claim(kMany, F_WRLCK, 1, 1))), EDEADLK);
  EXPECT_LE(locks_->work().steps - before.steps, 5 * kMany);
  // The end of the chain lets go, and the others follow one by one.
  std::uint64_t unique = 2;  // of owner kMany - 1
  for (std::uint64_t n = kMany; n > kMany - 10; --n, unique += 2) {
    EXPECT_EQ(answer(unique), -1);
    lock(claim(n, F_UNLCK, 0, 1'000'000));
    EXPECT_EQ(answer(unique), 0) << n;
  }
}

TEST_F(LockTableTest, ManyWaitForOneAndCostLittleMeanwhile) {
  lock(claim(1, F_WRLCK, 0, 99));
  const auto before = locks_->work();
  for (std::uint64_t n = 2; n <= kMany; ++n) {
    ASSERT_EQ(answer(wait(claim(n, F_WRLCK, 0, 99))), -1);
  }
  EXPECT_LE(locks_->work().lock_calls - before.lock_calls, 2 * kMany);
  EXPECT_LE(locks_->work().steps - before.steps, 10 * kMany);
  // Who holds them up is known here, so there is nothing to ask the source, however often.
  const auto parked = locks_->work();
  for (int i = 0; i < 100; ++i) locks_->poll();
  EXPECT_EQ(locks_->work().lock_calls, parked.lock_calls);
  // One after the other gets it.
  for (std::uint64_t n = 1; n <= 10; ++n) {
    EXPECT_EQ(answer(2 * n), -1);
    lock(claim(n, F_UNLCK, 0, 99));
    EXPECT_EQ(answer(2 * n), 0);
    EXPECT_EQ(answer(2 * n + 2), -1);
  }
  EXPECT_LE(locks_->work().lock_calls - parked.lock_calls, 100U);
}

// Only the source knows of this one.
TEST_F(LockTableTest, WhatIsHeldOnTheSourceIsAskedForAgain) {
  const UniqueFd other(::open(tree_.path("file0").c_str(), O_RDWR | O_CLOEXEC));
  struct flock native {};
  native.l_type = F_WRLCK;
  ASSERT_EQ(fcntl(other.get(), F_OFD_SETLK, &native), 0);
  const std::uint64_t waiting = wait(claim(1, F_WRLCK, 0, 9));
  locks_->poll();
  EXPECT_EQ(answer(waiting), -1);
  native.l_type = F_UNLCK;
  ASSERT_EQ(fcntl(other.get(), F_OFD_SETLK, &native), 0);
  locks_->poll();
  EXPECT_EQ(answer(waiting), 0);
}

// A waiter that comes first in the list, let in by what a later one is granted.
TEST_F(LockTableTest, AGrantThatMakesAWriteLockAReadLockLetsOthersIn) {
  lock(claim(1, F_WRLCK, 0, 9));
  lock(claim(2, F_WRLCK, 10, 19));
  const std::uint64_t reader = wait(claim(3, F_RDLCK, 0, 9));
  const std::uint64_t turned = wait(claim(1, F_RDLCK, 0, 19));
  EXPECT_EQ(answer(reader), -1);
  EXPECT_EQ(answer(turned), -1);
  lock(claim(2, F_UNLCK, 10, 19));
  EXPECT_EQ(answer(turned), 0);
  EXPECT_EQ(answer(reader), 0);
}

// Who is granted a lock while others wait holds them up from then on, in the search as well.
TEST_F(LockTableTest, ACircleThroughALockGrantedMeanwhileIsFound) {
  lock(claim(1, F_RDLCK, 0, 9));
  lock(claim(2, F_WRLCK, 10, 19));
  lock(claim(4, F_WRLCK, 30, 39));
  const std::uint64_t first = wait(claim(4, F_WRLCK, 0, 9));    // held up by 1
  const std::uint64_t second = wait(claim(3, F_RDLCK, 0, 19));  // held up by 2
  lock(claim(2, F_UNLCK, 10, 19));
  EXPECT_EQ(answer(second), 0);
  EXPECT_EQ(answer(first), -1);
  EXPECT_EQ(answer(wait(claim(3, F_WRLCK, 30, 39))), EDEADLK);
}

}  // namespace
}  // namespace passthroughfs
