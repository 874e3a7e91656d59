// SPDX-License-Identifier: Apache-2.0
#include "source/fs_kind.h"

#include <gtest/gtest.h>

namespace passthroughfs {
namespace {

FsKind kind_of(long type) {
  struct statfs fs {};
  fs.f_type = static_cast<decltype(fs.f_type)>(type);
  return fs_kind(fs);
}

TEST(FsKind, OfAnUnknownKindNothingIsTrue) {
  const FsKind kind = kind_of(0x12345678);
  EXPECT_FALSE(kind.remote || kind.stacked || kind.in_memory || kind.silent_close);
}

TEST(FsKind, ClosingAFileReportsErrorsWhereItIsWrittenThen) {
  EXPECT_TRUE(kind_of(0x01021994).silent_close);  // tmpfs
  EXPECT_TRUE(kind_of(0xef53).silent_close);      // ext4
  EXPECT_FALSE(kind_of(0x6969).silent_close) << "NFS writes at close";
  EXPECT_FALSE(kind_of(0x65735546).silent_close) << "FUSE sends FLUSH";
  EXPECT_FALSE(kind_of(0x794c7630).silent_close) << "overlayfs asks the file system below it";
}

TEST(FsKind, NumbersAboveTheSignBitAreKnown) {
  EXPECT_TRUE(kind_of(static_cast<int>(0xff534d42U)).remote);  // CIFS, as a 32-bit long has it
  EXPECT_TRUE(kind_of(static_cast<int>(0x9123683eU)).silent_close);
}

}  // namespace
}  // namespace passthroughfs
