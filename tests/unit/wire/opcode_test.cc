// SPDX-License-Identifier: Apache-2.0
#include "wire/opcode.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "support/request_bytes.h"

namespace passthroughfs::wire {
namespace {

TEST(OpcodeName, IsThatOfTheKernel) {
  EXPECT_EQ(opcode_name(Opcode::lookup), "LOOKUP");
  EXPECT_EQ(opcode_name(Opcode::copy_file_range_64), "COPY_FILE_RANGE_64");
}

TEST(OpcodeName, OfAnUnknownNumberIsUnknown) {
  for (const std::uint32_t number : {0U, 7U, 19U, kOpcodeCount, 4096U, 0xffffffffU}) {
    EXPECT_EQ(opcode_name(static_cast<Opcode>(number)), "UNKNOWN") << number;
  }
}

TEST(OpcodeName, IsDifferentForEachOpcode) {
  std::set<std::string> names;
  unsigned known = 0;
  for (std::uint32_t number = 0; number < kOpcodeCount; ++number) {
    const auto name = opcode_name(static_cast<Opcode>(number));
    if (name == "UNKNOWN") continue;
    ++known;
    names.emplace(name);
  }
  EXPECT_EQ(names.size(), known);
  EXPECT_EQ(known, 51U);  // 53 numbers, of which 7 and 19 were never given out
}

// The tables of samples that other tests run through must not miss one.
TEST(Samples, CoverEachOpcodeWithADecoder) {
  std::set<Opcode> sampled;
  for (const test::Sample& sample : test::sample_of_each_request()) {
    sampled.insert(sample.request.opcode);
  }
  for (std::uint32_t number = 0; number < kOpcodeCount; ++number) {
    const auto opcode = static_cast<Opcode>(number);
    if (opcode_name(opcode) == "UNKNOWN") continue;
    const bool unserved = opcode == Opcode::notify_reply || opcode == Opcode::setupmapping ||
                          opcode == Opcode::removemapping;
    EXPECT_EQ(sampled.count(opcode), unserved ? 0U : 1U) << opcode_name(opcode);
  }
}

}  // namespace
}  // namespace passthroughfs::wire
