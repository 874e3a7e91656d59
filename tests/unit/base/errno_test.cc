// SPDX-License-Identifier: Apache-2.0
#include "base/errno.h"

#include <gtest/gtest.h>

namespace passthroughfs {
namespace {

TEST(Errno, KeepsItsValue) { EXPECT_EQ(Errno(ENOENT).value(), ENOENT); }

TEST(Errno, IsNeverZeroOrNegative) {
  EXPECT_EQ(Errno(0).value(), EIO);
  EXPECT_EQ(Errno(-ENOENT).value(), EIO);
}

TEST(Errno, LastIsTheOneOfTheFailedCall) {
  errno = EXDEV;
  EXPECT_EQ(Errno::last().value(), EXDEV);
}

TEST(Errno, ComparesWithErrnosAndNumbers) {
  EXPECT_EQ(Errno(EPERM), Errno(EPERM));
  EXPECT_NE(Errno(EPERM), Errno(EACCES));
  EXPECT_TRUE(Errno(EPERM) == EPERM);
}

TEST(Errno, ShowsNameAndMeaning) {
  EXPECT_EQ(Errno(ENOENT).to_string(), "ENOENT (No such file or directory)");
}

TEST(Errno, ShowsANumberWithoutAName) { EXPECT_EQ(Errno(4000).to_string(), "4000"); }

}  // namespace
}  // namespace passthroughfs
