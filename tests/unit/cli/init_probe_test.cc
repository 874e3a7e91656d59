// SPDX-License-Identifier: Apache-2.0
#include "cli/init_probe.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "wire/abi.h"

namespace passthroughfs {
namespace {

std::string mount_table() {
  std::ostringstream text;
  text << std::ifstream("/proc/self/mountinfo").rdbuf();
  return text.str();
}

TEST(InitFlags, AreNamedInOrderAndUnknownOnesByTheirBit) {
  EXPECT_EQ(init_flag_names(wire::init_flag::passthrough | wire::init_flag::async_read |
                            std::uint64_t{1} << 63),
            (std::vector<std::string>{"ASYNC_READ", "PASSTHROUGH", "bit 63"}));
  EXPECT_TRUE(init_flag_names(0).empty());
}

TEST(InitFlags, EveryOneThatWeKnowHasAName) {
  // Bit 31 is not in use.
  for (unsigned bit = 0; bit <= 42; ++bit) {
    if (bit == 31) continue;
    const auto names = init_flag_names(std::uint64_t{1} << bit);
    ASSERT_EQ(names.size(), 1U);
    EXPECT_NE(names[0].substr(0, 4), "bit ") << bit;
  }
}

TEST(KernelProbe, SeesTheProtocolAndLeavesNoMount) {
  const auto offer = probe_kernel();
  if (!offer) GTEST_SKIP() << offer.error().message;
  EXPECT_EQ(offer->major, 7U);
  EXPECT_GE(offer->minor, wire::kOldestMinor);
  EXPECT_NE(offer->flags & wire::init_flag::init_ext, 0U);
  EXPECT_EQ(mount_table().find("passthroughfs-doctor"), std::string::npos);
}

}  // namespace
}  // namespace passthroughfs
