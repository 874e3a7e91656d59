// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace passthroughfs {
namespace {

TEST(Bytes, OfAStructAreItsMemory) {
  const std::uint32_t value = 0x01020304;
  const ByteSpan bytes = bytes_of(value);
  ASSERT_EQ(bytes.size(), 4U);
  EXPECT_EQ(static_cast<const void*>(bytes.data()), static_cast<const void*>(&value));
}

TEST(Bytes, OfTextHaveNoNulAndComeBack) {
  const std::string_view text("a\0b", 3);
  EXPECT_EQ(bytes_of(text).size(), 3U);
  EXPECT_EQ(text_of(bytes_of(text)), text);
}

TEST(Bytes, OfNothingAreEmptyText) { EXPECT_TRUE(text_of(ByteSpan()).empty()); }

TEST(AlignUp, RoundsToTheNextMultiple) {
  EXPECT_EQ(align_up(0, 8), 0U);
  EXPECT_EQ(align_up(1, 8), 8U);
  EXPECT_EQ(align_up(8, 8), 8U);
  EXPECT_EQ(align_up(4097, 4096), 8192U);
}

}  // namespace
}  // namespace passthroughfs
