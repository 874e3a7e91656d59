// SPDX-License-Identifier: Apache-2.0
#include "proto/framing.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace passthroughfs {
namespace {

std::string next_line(LineReader& reader) {
  auto line = reader.next();
  if (!line) return "error";
  return line->value_or("none");
}

TEST(LineReader, CutsAStreamIntoLinesWhereverItIsSplit) {
  const std::string stream = "one\ntwo\n\nthree\n";
  for (std::size_t step = 1; step <= stream.size(); ++step) {
    LineReader reader(100);
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      reader.append(std::string_view(stream).substr(at, step));
      for (std::string line = next_line(reader); line != "none"; line = next_line(reader)) {
        lines.push_back(line);
      }
    }
    EXPECT_EQ(lines, (std::vector<std::string>{"one", "two", "", "three"})) << "step " << step;
    EXPECT_TRUE(reader.empty());
  }
}

TEST(LineReader, HoldsAnUnfinishedLineBack) {
  LineReader reader(100);
  reader.append("half");
  EXPECT_EQ(next_line(reader), "none");
  EXPECT_FALSE(reader.empty());
  reader.append(" done\n");
  EXPECT_EQ(next_line(reader), "half done");
}

TEST(LineReader, TakesALineOfExactlyTheLimit) {
  LineReader reader(4);
  reader.append("1234");
  EXPECT_EQ(next_line(reader), "none");
  reader.append("\n");
  EXPECT_EQ(next_line(reader), "1234");
}

TEST(LineReader, RefusesALongerLineBeforeItsEndHasCome) {
  LineReader reader(4);
  reader.append("12345");
  auto line = reader.next();
  ASSERT_FALSE(line);
  EXPECT_EQ(line.error(), EMSGSIZE);
}

TEST(LineReader, RefusesALongerLineThatCameWithItsEnd) {
  LineReader reader(4);
  reader.append("12345\n");
  EXPECT_EQ(next_line(reader), "error");
}

TEST(LineReader, PassesAnyOtherByteOn) {
  LineReader reader(100);
  const std::string bytes("\0\r\x1b\xff", 4);
  reader.append(bytes + "\n");
  EXPECT_EQ(next_line(reader), bytes);
}

}  // namespace
}  // namespace passthroughfs
