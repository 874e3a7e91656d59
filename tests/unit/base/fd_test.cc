// SPDX-License-Identifier: Apache-2.0
#include "base/fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <type_traits>

namespace passthroughfs {
namespace {

UniqueFd open_null() { return UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC)); }

// The test binary runs one thread here, so nobody else takes the number meanwhile.
bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

static_assert(!std::is_copy_constructible_v<UniqueFd>);
static_assert(!std::is_copy_assignable_v<UniqueFd>);
static_assert(std::is_nothrow_move_constructible_v<UniqueFd>);

TEST(UniqueFd, OwnsNothingAtFirst) {
  const UniqueFd fd;
  EXPECT_FALSE(fd.valid());
  EXPECT_EQ(fd.get(), -1);
}

TEST(UniqueFd, ClosesWhenDestroyed) {
  int number = -1;
  {
    const UniqueFd fd = open_null();
    number = fd.get();
    ASSERT_TRUE(is_open(number));
  }
  EXPECT_FALSE(is_open(number));
}

TEST(UniqueFd, MovingHandsOver) {
  UniqueFd from = open_null();
  const int number = from.get();
  const UniqueFd to = std::move(from);
  EXPECT_FALSE(from.valid());  // NOLINT(bugprone-use-after-move,clang-analyzer-cplusplus.Move)
  EXPECT_EQ(to.get(), number);
  EXPECT_TRUE(is_open(number));
}

TEST(UniqueFd, MoveAssignmentClosesWhatWasOwned) {
  UniqueFd first = open_null();
  UniqueFd second = open_null();
  const int old = first.get();
  const int kept = second.get();
  first = std::move(second);
  EXPECT_FALSE(is_open(old));
  EXPECT_TRUE(is_open(kept));
  EXPECT_EQ(first.get(), kept);
}

TEST(UniqueFd, MoveAssignmentToItselfKeepsTheDescriptor) {
  UniqueFd fd = open_null();
  UniqueFd& same = fd;
  fd = std::move(same);
  ASSERT_TRUE(fd.valid());
  EXPECT_TRUE(is_open(fd.get()));
}

TEST(UniqueFd, ReleaseGivesUpOwnership) {
  UniqueFd fd = open_null();
  const UniqueFd again(fd.release());
  EXPECT_FALSE(fd.valid());
  EXPECT_TRUE(is_open(again.get()));
}

TEST(UniqueFd, ResetReplaces) {
  UniqueFd fd = open_null();
  const int old = fd.get();
  fd.reset(::fcntl(old, F_DUPFD_CLOEXEC, 100));
  EXPECT_FALSE(is_open(old));
  EXPECT_GE(fd.get(), 100);
}

TEST(UniqueFd, CloseCheckedReportsSuccessOnce) {
  UniqueFd fd = open_null();
  EXPECT_TRUE(fd.close_checked());
  EXPECT_FALSE(fd.valid());
  EXPECT_TRUE(fd.close_checked());  // nothing left to close is no error
}

TEST(UniqueFd, CloseCheckedReportsTheErrorAndLetsGo) {
  UniqueFd fd = open_null();
  const int number = fd.get();
  ASSERT_EQ(::close(number), 0);
  const Result<void> closed = fd.close_checked();
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error(), EBADF);
  EXPECT_FALSE(fd.valid());
}

TEST(Own, TakesADescriptor) {
  const Result<UniqueFd> fd = own(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(fd);
  EXPECT_TRUE(fd->valid());
}

TEST(Own, TurnsMinusOneIntoTheErrno) {
  const Result<UniqueFd> fd = own(::open("/no/such/file", O_RDONLY | O_CLOEXEC));
  ASSERT_FALSE(fd);
  EXPECT_EQ(fd.error(), ENOENT);
}

TEST(Duplicate, SharesTheFileAndIsCloseOnExec) {
  const UniqueFd fd = open_null();
  const Result<UniqueFd> copy = duplicate(fd.borrow());
  ASSERT_TRUE(copy);
  EXPECT_NE(copy->get(), fd.get());
  EXPECT_EQ(::fcntl(copy->get(), F_GETFD), FD_CLOEXEC);
}

TEST(Duplicate, OfABadDescriptorFails) {
  const Result<UniqueFd> copy = duplicate(BorrowedFd(-1));
  ASSERT_FALSE(copy);
  EXPECT_EQ(copy.error(), EBADF);
}

}  // namespace
}  // namespace passthroughfs
