// SPDX-License-Identifier: Apache-2.0
#include "base/region.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "support/run_as.h"
#include "table_fixture.h"

namespace passthroughfs {
namespace {

TEST(RegionTest, IsZeroAndWritable) {
  auto region = Region::create("region", 1U << 20);
  ASSERT_TRUE(region.has_value());
  ASSERT_EQ(region->size(), 1U << 20);
  EXPECT_EQ(region->data()[0], std::byte{0});
  region->data()[region->size() - 1] = std::byte{7};
  EXPECT_EQ(region->data()[region->size() - 1], std::byte{7});
}

TEST(RegionTest, MovingKeepsTheMemoryWhereItIs) {
  auto region = Region::create("region", 4096);
  ASSERT_TRUE(region.has_value());
  std::byte* const data = region->data();
  const Region moved(std::move(*region));
  EXPECT_EQ(moved.data(), data);
  data[0] = std::byte{1};  // still mapped
}

TEST(RegionTest, ReservesFarMoreThanThereIsMemory) {
  auto region = Region::create("region", std::size_t{1} << 38);
  ASSERT_TRUE(region.has_value()) << region.error().to_string();
  region->data()[region->size() / 2] = std::byte{1};
}

TEST(RegionTest, GivesItsDescriptorBack) {
  const std::size_t before = test::open_descriptors();
  { auto region = Region::create("region", 4096); }
  EXPECT_EQ(test::open_descriptors(), before);
}

// ftruncate(2) raises SIGXFSZ there, which would end the process.
TEST(RegionTest, BeyondTheFileSizeLimitIsAnErrorNotASignal) {
  test::in_child([] {
    const rlimit limit{4096, 4096};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    auto region = Region::create("region", 1U << 20);
    ASSERT_FALSE(region.has_value());
    EXPECT_EQ(region.error(), EFBIG);
  });
}

}  // namespace
}  // namespace passthroughfs
