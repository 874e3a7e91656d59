// SPDX-License-Identifier: Apache-2.0
#include "wire/arg_reader.h"

#include <gtest/gtest.h>

#include <string>

#include "support/request_bytes.h"

namespace passthroughfs::wire {
namespace {

using test::Bytes;
using test::join;

TEST(ArgReader, FetchesStructsInOrder) {
  const Bytes bytes = join(std::uint32_t{1}, std::uint64_t{2});  // the second one is not aligned
  ArgReader args{ByteSpan(bytes)};
  EXPECT_EQ(*args.fetch<std::uint32_t>(), 1U);
  EXPECT_EQ(*args.fetch<std::uint64_t>(), 2U);
  EXPECT_TRUE(args.finish());
}

TEST(ArgReader, ShortStructFailsAndTakesNothing) {
  const Bytes bytes(7);
  ArgReader args{ByteSpan(bytes)};
  EXPECT_EQ(args.fetch<std::uint64_t>().error(), EINVAL);
  EXPECT_EQ(args.rest().size(), 7U);
}

TEST(ArgReader, FetchesStringsWithoutTheirNul) {
  const Bytes bytes = join("a", "", "bc");
  ArgReader args{ByteSpan(bytes)};
  EXPECT_EQ(*args.fetch_string(), "a");
  EXPECT_EQ(*args.fetch_string(), "");
  EXPECT_EQ(*args.fetch_string(), "bc");
  EXPECT_TRUE(args.finish());
}

TEST(ArgReader, UnterminatedStringFails) {
  ArgReader args{bytes_of(std::string_view("abc"))};
  EXPECT_EQ(args.fetch_string().error(), EINVAL);
}

TEST(ArgReader, NoStringInNothing) {
  ArgReader args{ByteSpan()};
  EXPECT_EQ(args.fetch_string().error(), EINVAL);
}

TEST(ArgReader, NameOfUpTo255BytesIsTaken) {
  for (const std::size_t length : {1U, 2U, 3U, 254U, 255U}) {
    const std::string name(length, 'x');
    const Bytes bytes = join(name);
    EXPECT_EQ(*ArgReader(ByteSpan(bytes)).fetch_name(), name);
  }
}

TEST(ArgReader, LongerNameIsTooLong) {
  const Bytes bytes = join(std::string(256, 'x'));
  EXPECT_EQ(ArgReader(ByteSpan(bytes)).fetch_name().error(), ENAMETOOLONG);
}

TEST(ArgReader, NameThatIsNotOneComponentIsRefused) {
  for (const char* name : {"", ".", "..", "/", "a/b", "/a", "a/"}) {
    const Bytes bytes = join(name);
    EXPECT_EQ(ArgReader(ByteSpan(bytes)).fetch_name().error(), EINVAL) << name;
  }
}

TEST(ArgReader, NameMayBeAnyOtherBytes) {
  for (const char* name : {"...", ".a", " ", "\n", "\xff\xfe", "a\\b", "*"}) {
    const Bytes bytes = join(name);
    EXPECT_EQ(*ArgReader(ByteSpan(bytes)).fetch_name(), name);
  }
}

TEST(ArgReader, FetchesExactlyTheBytes) {
  const Bytes bytes = join("abc");
  ArgReader args{ByteSpan(bytes)};
  EXPECT_EQ(text_of(*args.fetch_bytes(2)), "ab");
  EXPECT_EQ(args.rest().size(), 2U);
  EXPECT_TRUE(args.fetch_bytes(0)->empty());
  EXPECT_EQ(args.fetch_bytes(3).error(), EINVAL);
  EXPECT_EQ(args.fetch_bytes(SIZE_MAX).error(), EINVAL);
}

TEST(ArgReader, LeftOversAreAnError) {
  const Bytes bytes(1);
  EXPECT_EQ(ArgReader(ByteSpan(bytes)).finish().error(), EINVAL);
}

}  // namespace
}  // namespace passthroughfs::wire
