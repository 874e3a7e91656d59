// SPDX-License-Identifier: Apache-2.0
//
// Who may act as others at all. A program of its own: once enabled, it is for the whole process.
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "source/credentials.h"
#include "support/mount_fixture.h"
#include "support/run_as.h"

namespace passthroughfs {
namespace {

using test::kAlice;
using test::kBob;

uid_t acting_uid() { return static_cast<uid_t>(::setfsuid(static_cast<uid_t>(-1))); }

TEST(ImpersonationTest, WithoutRootEveryCallRunsAsWhoMounted) {
  PFS_NEEDS_ROOT();
  test::run_as(kAlice, [] {
    EXPECT_FALSE(enable_impersonation());
    EXPECT_FALSE(impersonation_enabled());
    Caller bob;
    bob.uid = kBob.uid;
    bob.gid = kBob.gid;
    uid_t seen = 0;
    const auto look = [&]() -> Result<void> {
      seen = acting_uid();
      return ok();
    };
    EXPECT_TRUE(as_caller(bob, look).has_value());
    EXPECT_EQ(seen, kAlice.uid);
    EXPECT_TRUE(as_caller_with_groups(bob, look).has_value());
    EXPECT_EQ(seen, kAlice.uid);
    { const ActingAs acting(kBob.uid, kBob.gid, {}); }
    EXPECT_EQ(acting_uid(), kAlice.uid);
  });
}

// With CAP_SETUID and no root the kernel would not drop the other capabilities on a change of id.
TEST(ImpersonationTest, CapabilitiesWithoutRootAreNotEnough) {
  PFS_NEEDS_ROOT();
  test::in_child([] {
    ASSERT_EQ(::prctl(PR_SET_KEEPCAPS, 1), 0);
    ASSERT_EQ(::setresgid(kAlice.gid, kAlice.gid, kAlice.gid), 0);
    ASSERT_EQ(::setresuid(kAlice.uid, kAlice.uid, kAlice.uid), 0);
    const std::uint32_t bits = (1U << CAP_SETUID) | (1U << CAP_SETGID) | (1U << CAP_CHOWN);
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, 2> data{};
    data[0].effective = data[0].permitted = bits;
    ASSERT_EQ(::syscall(SYS_capset, &header, data.data()), 0);
    EXPECT_FALSE(enable_impersonation());
    EXPECT_FALSE(impersonation_enabled());
  });
}

TEST(ImpersonationTest, RootWithoutTheCapabilitiesCannotEither) {
  PFS_NEEDS_ROOT();
  test::in_child([] {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, 2> data{};
    ASSERT_EQ(::syscall(SYS_capset, &header, data.data()), 0);
    EXPECT_FALSE(enable_impersonation());
    EXPECT_FALSE(impersonation_enabled());
  });
}

TEST(ImpersonationTest, RootCan) {
  PFS_NEEDS_ROOT();
  test::in_child([] {
    EXPECT_TRUE(enable_impersonation());
    EXPECT_TRUE(impersonation_enabled());
  });
}

}  // namespace
}  // namespace passthroughfs
