// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include <gtest/gtest.h>

namespace passthroughfs {
namespace {

TEST(Table, AlignsColumnsAndDoesNotPadTheLast) {
  Table table({{"N"}, {"NAME", Table::Align::left}, {"LAST", Table::Align::left}});
  table.add({"1", "\xC3\xA4", "x"});
  table.add({"100", "longer", ""});
  EXPECT_EQ(table.text(),
            "  N  NAME    LAST\n"
            "  1  \xC3\xA4       x\n"
            "100  longer  \n");
}

TEST(Format, ChoosesUnits) {
  EXPECT_EQ(format_duration(0), "0 ns");
  EXPECT_EQ(format_duration(999), "999 ns");
  EXPECT_EQ(format_duration(12345), "12.3 us");
  EXPECT_EQ(format_duration(4.5e6), "4.5 ms");
  EXPECT_EQ(format_duration(2e9), "2.0 s");
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(5e15), "4547.5 TiB");
}

}  // namespace
}  // namespace passthroughfs
