// SPDX-License-Identifier: Apache-2.0
//
// The parts of difftest that need no file system. That it finds mistakes is shown by
// difftest_selftest.sh.
#include <gtest/gtest.h>

#include <chrono>
#include <vector>

#include "difftest/codec.h"
#include "difftest/compare.h"
#include "difftest/generator.h"
#include "difftest/op.h"
#include "difftest/shrink.h"

namespace passthroughfs::difftest {
namespace {

std::vector<Op> some_ops(std::uint64_t seed, std::size_t count) {
  Generator generator({.seed = seed, .agents = 4, .root = true, .confined = true});
  std::vector<Op> ops;
  while (ops.size() < count) {
    for (Op& op : generator.next_batch()) {
      generator.learn(op, Result{});  // as if everything worked
      ops.push_back(std::move(op));
    }
  }
  return ops;
}

std::vector<std::string> lines_of(const std::vector<Op>& ops) {
  std::vector<std::string> lines;
  for (const Op& op : ops) lines.push_back(to_line(op));
  return lines;
}

TEST(DifftestOp, EveryGeneratedCallSurvivesItsLine) {
  for (const Op& op : some_ops(1, 20000)) {
    const std::string line = to_line(op);
    const auto back = parse_op(line);
    ASSERT_TRUE(back) << line;
    EXPECT_EQ(to_line(*back), line);
  }
}

TEST(DifftestOp, StrangeNamesSurvive) {
  Op op{.kind = Kind::kMkdir,
        .agent = 2,
        .path = "a \"b\\c\n\x01\xff" + std::string(255, 'x'),
        .a = 0755};
  const auto back = parse_op(to_line(op));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->path, op.path);
}

TEST(DifftestOp, NonsenseIsNotACall) {
  for (const char* line : {"", "1", "1 nosuchcall", "9 stat path=\"a\"", "1 stat path=\"a",
                           "1 stat colour=3", "1 open flags=O_NOSUCH", "x stat"}) {
    EXPECT_FALSE(parse_op(line)) << line;
  }
}

TEST(DifftestCodec, CallsArriveAsTheyWereSent) {
  const std::vector<Op> ops = some_ops(2, 5000);
  std::string bytes;
  encode(ops, bytes);
  EXPECT_EQ(lines_of(decode_ops(bytes)), lines_of(ops));
}

TEST(DifftestGenerator, TheSameSeedMakesTheSameCalls) {
  EXPECT_EQ(lines_of(some_ops(3, 5000)), lines_of(some_ops(3, 5000)));
  EXPECT_NE(lines_of(some_ops(3, 5000)), lines_of(some_ops(4, 5000)));
}

TEST(DifftestGenerator, EveryCallIsMade) {
  std::array<bool, kKinds> seen{};
  for (const Op& op : some_ops(5, 40000)) seen[static_cast<std::size_t>(op.kind)] = true;
  for (std::size_t i = 0; i < kKinds; ++i) {
    EXPECT_TRUE(seen[i]) << spec(static_cast<Kind>(i)).name;
  }
}

TEST(DifftestShrink, LeavesOnlyWhatTheFailureNeeds) {
  std::vector<Op> ops = some_ops(6, 3000);
  ops[100] = Op{.kind = Kind::kMkdir, .observe = true, .path = "/here//it/is/", .a = 01777};
  ops[2000] = Op{.kind = Kind::kPwrite, .agent = 1, .fd = 3, .a = 70000, .b = 5, .c = 8192};
  const auto fails = [](const std::vector<Op>& candidate) {
    bool made = false;
    for (const Op& op : candidate) {
      if (op.kind == Kind::kMkdir && op.path.rfind("/here", 0) == 0) made = true;
      if (made && op.kind == Kind::kPwrite && op.fd == 3 && op.a >= 4096) return true;
    }
    return false;
  };
  const auto small =
      shrink(ops, fails, std::chrono::steady_clock::now() + std::chrono::seconds(60));
  ASSERT_EQ(small.size(), 2u);
  EXPECT_EQ(to_line(small[0]), "0 mkdir path=\"/here/it/is\" mode=00");
  EXPECT_EQ(small[1].kind, Kind::kPwrite);
  EXPECT_LE(small[1].a, 8191);
}

Result with(const char* detail) { return Result{.detail = detail}; }

TEST(DifftestCompare, NamesWhatDiffers) {
  const Op op{.kind = Kind::kFstat};
  EXPECT_FALSE(difference(op, with(" size=1 mode=06"), with(" size=1 mode=06")));
  EXPECT_EQ(difference(op, with(" size=1 mode=06"), with(" size=2 mode=07")), "size, mode");
  EXPECT_EQ(difference(op, Result{.value = -1, .error = 2}, Result{}), "errno ENOENT/none");
  EXPECT_EQ(difference(op, Result{.value = 3}, Result{.value = 4}), "value");
}

TEST(DifftestCompare, ExceptionsAreNarrow) {
  const Op op{.kind = Kind::kFstat};
  // Times of a mapped file may lag, its size may not.
  EXPECT_FALSE(
      difference(op, with(" size=1 t_since=mc mapped"), with(" size=1 t_since=-- mapped")));
  EXPECT_TRUE(difference(op, with(" size=1 t_since=mc"), with(" size=1 t_since=--")));
  EXPECT_TRUE(difference(op, with(" size=1 mapped"), with(" size=2 mapped")));
  // Blocks on a disk may differ a little, in memory not at all.
  EXPECT_FALSE(difference(op, with(" blocks~=8"), with(" blocks~=16")));
  EXPECT_TRUE(difference(op, with(" blocks~=8"), with(" blocks~=80")));
  EXPECT_TRUE(difference(op, with(" blocks=8"), with(" blocks=16")));
}

TEST(DifftestCompare, TreesDifferByNamesOrByFields) {
  const Op op{.kind = Kind::kSnapshot};
  EXPECT_FALSE(difference(op, with("/a size=1\n/b size=2\n"), with("/a size=1\n/b size=2\n")));
  EXPECT_EQ(difference(op, with("/a size=1\n/b size=2\n"), with("/a size=1\n/b size=3\n")), "size");
  EXPECT_EQ(difference(op, with("/a size=1\n/b size=2\n"), with("/a size=1\n")), "names");
}

}  // namespace
}  // namespace passthroughfs::difftest
