// SPDX-License-Identifier: Apache-2.0
#include "base/handover.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string_view>

#include "base/regions.h"

namespace passthroughfs {
namespace {

UniqueFd file_of(std::string_view bytes) {
  UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(::write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  return file;
}

TEST(HandoverTest, HoldsWhatWasPut) {
  Handover handover;
  handover.put_descriptor("b", 7);
  handover.put_descriptor("a", 9);
  handover.put_descriptor("again", 7);
  handover.put_number("n", ~std::uint64_t{0});
  handover.put_text("t", "any\nbytes \xff");
  handover.put_text("empty", "");
  handover.put_text("t2", "first");
  handover.put_text("t2", "last");
  const auto file = handover.write();
  ASSERT_TRUE(file);
  const auto read = Handover::read(file->borrow());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->descriptor("b"), 7);
  EXPECT_EQ(read->number("n"), ~std::uint64_t{0});
  EXPECT_EQ(read->text("t"), "any\nbytes \xff");
  EXPECT_EQ(read->text("empty"), "");
  EXPECT_EQ(read->text("t2"), "last");
  EXPECT_EQ(read->descriptors(), (std::vector<int>{7, 9}));
  EXPECT_EQ(read->descriptor("n"), std::nullopt) << "of another kind";
  EXPECT_EQ(read->text("none"), std::nullopt);
}

TEST(HandoverTest, RefusesWhatItDidNotWrite) {
  using namespace std::string_view_literals;
  for (const std::string_view bytes :
       {""sv, "something else"sv, "passthroughfs handover 2\n"sv,
        "passthroughfs handover 1\nd\0name\0"sv, "passthroughfs handover 1\nd\0name\0007"sv,
        "passthroughfs handover 1\ndd\0name\0007\0"sv}) {
    const UniqueFd file = file_of(bytes);
    const auto read = Handover::read(file.borrow());
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error(), EPROTO);
  }
}

TEST(HandoverTest, ValuesThatAreNoNumbersAreNotThere) {
  using namespace std::string_view_literals;
  const UniqueFd file = file_of(
      "passthroughfs handover 1\nd\0a\0-1\0d\0b\0007x\0n\0c\000 1\0d\0e\00099999999999\0"sv);
  const auto read = Handover::read(file.borrow());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->descriptor("a"), std::nullopt);
  EXPECT_EQ(read->descriptor("b"), std::nullopt);
  EXPECT_EQ(read->number("c"), std::nullopt);
  EXPECT_EQ(read->descriptor("e"), std::nullopt);
  EXPECT_TRUE(read->descriptors().empty());
}

TEST(RegionsTest, AnotherProgramFindsWhatIsInThem) {
  Handover handover;
  Regions made;
  auto region = made.make("table", 8192);
  ASSERT_TRUE(region);
  EXPECT_TRUE(region->is_fresh());
  region->data()[5000] = std::byte{42};
  made.leave_to(handover);
  // As over exec: the number means the same file, and belongs to who takes it.
  handover.put_descriptor("table", ::dup(*handover.descriptor("table")));

  Regions found(handover);
  EXPECT_TRUE(found.continued());
  const auto missing = found.make("other", 8192);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error(), EUCLEAN);
  auto again = found.make("table", 8192);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->is_fresh());
  EXPECT_EQ(again->data()[5000], std::byte{42});
}

TEST(RegionsTest, OneOfAnotherSizeIsRefused) {
  Handover handover;
  Regions made;
  auto region = made.make("table", 8192);
  ASSERT_TRUE(region);
  handover.put_descriptor("table", ::dup(region->memory().get()));
  Regions found(handover);
  const auto refused = found.make("table", 4096);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), EUCLEAN);
}

}  // namespace
}  // namespace passthroughfs
