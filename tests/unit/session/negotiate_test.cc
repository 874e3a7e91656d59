// SPDX-License-Identifier: Apache-2.0
#include "session/negotiate.h"

#include <gtest/gtest.h>

namespace passthroughfs {
namespace {

namespace flag = wire::init_flag;

wire::InitRequest offer(std::uint64_t flags, std::uint32_t minor = 45) {
  return {7, minor, 131072, flags};
}

TEST(Negotiate, TakesOnlyWhatIsOffered) {
  const std::uint64_t offered = flag::async_read | flag::posix_acl | flag::init_ext;
  const auto settled = negotiate(offer(offered), {}, false);
  ASSERT_TRUE(settled);
  EXPECT_EQ(settled->flags & ~offered, 0U);
  EXPECT_NE(settled->flags & flag::posix_acl, 0U);
  EXPECT_FALSE(settled->decode.setxattr_ext);
}

TEST(Negotiate, NeverAsksForWhatBreaksSemantics) {
  const auto settled = negotiate(offer(~0ULL), {}, false);
  ASSERT_TRUE(settled);
  for (const std::uint64_t bad :
       {flag::writeback_cache, flag::handle_killpriv, flag::request_timeout, flag::allow_idmap,
        flag::no_open_support, flag::no_opendir_support, flag::export_support,
        flag::over_io_uring}) {
    EXPECT_EQ(settled->flags & bad, 0U) << std::hex << bad;
  }
}

TEST(Negotiate, BothFlagWordsGoOut) {
  const auto settled = negotiate(offer(~0ULL), {}, false);
  ASSERT_TRUE(settled);
  EXPECT_EQ(settled->reply.flags | std::uint64_t{settled->reply.flags2} << 32, settled->flags);
  EXPECT_NE(settled->reply.flags & flag::init_ext, 0U);
}

TEST(Negotiate, StatelessWantsNoOpensAndSeparateTruncation) {
  MountConfig config;
  config.handles = HandleMode::stateless;
  const auto settled = negotiate(offer(~0ULL), config, false);
  ASSERT_TRUE(settled);
  EXPECT_NE(settled->flags & flag::no_open_support, 0U);
  EXPECT_NE(settled->flags & flag::no_opendir_support, 0U);
  EXPECT_EQ(settled->flags & (flag::atomic_o_trunc | flag::posix_locks | flag::flock_locks), 0U);
}

TEST(Negotiate, LocksStayInTheKernelOnlyWhenNobodyElseCouldSeeThem) {
  constexpr std::uint64_t kLocks = flag::posix_locks | flag::flock_locks;
  const auto asked = [](CacheMode cache, LockMode locks) {
    MountConfig config;
    config.cache = cache;
    config.locks = locks;
    return negotiate(offer(~0ULL), config, false)->flags & kLocks;
  };
  EXPECT_EQ(asked(CacheMode::normal, LockMode::automatic), kLocks);
  EXPECT_EQ(asked(CacheMode::forever, LockMode::automatic), 0U);
  EXPECT_EQ(asked(CacheMode::forever, LockMode::source), kLocks);
  EXPECT_EQ(asked(CacheMode::normal, LockMode::mount), 0U);
}

TEST(Negotiate, WritebackExcludesPassthrough) {
  MountConfig config;
  EXPECT_EQ(negotiate(offer(~0ULL), config, false)->flags & flag::writeback_cache, 0U);
  config.writeback = true;
  const auto settled = negotiate(offer(~0ULL), config, false);
  EXPECT_NE(settled->flags & flag::writeback_cache, 0U);
  EXPECT_EQ(settled->flags & flag::passthrough, 0U);
  EXPECT_EQ(settled->reply.max_stack_depth, 0U);
}

TEST(Negotiate, RingsAreTakenWhenBothSidesHaveThem) {
  EXPECT_NE(negotiate(offer(~0ULL), {}, false, true)->flags & flag::over_io_uring, 0U);
  EXPECT_EQ(negotiate(offer(~flag::over_io_uring), {}, false, true)->flags & flag::over_io_uring,
            0U);
}

// Whatever is a page then: 64 KiB of value, and the name.
TEST(Negotiate, RingBuffersHoldTheLargestExtendedAttribute) {
  MountConfig config;
  config.max_write = 4096;
  EXPECT_GE(negotiate(offer(~0ULL), config, false, true)->reply.max_pages, 17);
  EXPECT_EQ(negotiate(offer(~0ULL), config, false, true)->reply.max_write, 4096U);
  EXPECT_EQ(negotiate(offer(~0ULL), {}, false, true)->reply.max_pages, 256);
}

TEST(Negotiate, AnswersTheOlderMinor) {
  EXPECT_EQ(negotiate(offer(~0ULL, 37), {}, false)->reply.minor, 37U);
  EXPECT_EQ(negotiate(offer(~0ULL, 99), {}, false)->reply.minor, wire::kMinor);
}

TEST(Negotiate, TooOldIsRefused) {
  EXPECT_EQ(negotiate(offer(~0ULL, 12), {}, false).error(), EPROTO);
  EXPECT_EQ(negotiate({6, 1, 0, 0}, {}, false).error(), EPROTO);
}

TEST(Negotiate, NewerMajorIsAskedToComeBack) {
  const auto settled = negotiate({8, 0, 0, 0}, {}, false);
  ASSERT_TRUE(settled);
  EXPECT_TRUE(settled->again);
  EXPECT_EQ(settled->reply.major, 7U);
}

TEST(Negotiate, PagesCoverMaxWrite) {
  MountConfig config;
  config.max_write = 65536;
  const auto settled = negotiate(offer(~0ULL), config, false);
  ASSERT_TRUE(settled);
  EXPECT_EQ(settled->reply.max_write, 65536U);
  EXPECT_EQ(settled->reply.max_pages, 16U);
}

}  // namespace
}  // namespace passthroughfs
