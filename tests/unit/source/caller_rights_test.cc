// SPDX-License-Identifier: Apache-2.0
//
// What /proc says of a caller beyond its request: all its groups, and its capabilities.
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "credentials_fixture.h"
#include "source/credentials.h"
#include "support/run_as.h"
#include "support/temp_tree.h"

namespace passthroughfs {
namespace {

using test::caller_of;
using test::Client;
using test::kAlice;
using test::kBob;
using test::kGroup;
using test::kOther;
using test::Now;
using CallerRightsTest = test::CredentialsFixture;

void set_capabilities(std::uint64_t effective, std::uint64_t permitted) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  data[0] = {static_cast<std::uint32_t>(effective), static_cast<std::uint32_t>(permitted), 0};
  data[1] = {static_cast<std::uint32_t>(effective >> 32),
             static_cast<std::uint32_t>(permitted >> 32), 0};
  ASSERT_EQ(::syscall(SYS_capset, &header, data.data()), 0);
}

TEST_F(CallerRightsTest, AllGroupsOfTheCallerAreTriedWhenItIsRefused) {
  make_directory("shared", kOther, 0770);
  test::Identity alice = kAlice;
  alice.groups = {kGroup, kOther};
  const Client client(alice);
  int calls = 0;
  EXPECT_TRUE(as_caller(caller_of(alice, client.pid()), [&] {
                ++calls;
                return create("shared/file");
              }).has_value());
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(stat("shared/file").st_uid, kAlice.uid);
}

TEST_F(CallerRightsTest, OnlyARefusalIsTriedAgain) {
  test::Identity alice = kAlice;
  alice.groups = {kGroup};
  const Client client(alice);
  int calls = 0;
  auto missing = as_caller(caller_of(alice, client.pid()), [&]() -> Result<void> {
    ++calls;
    return Err(ENOENT);
  });
  EXPECT_EQ(missing.error(), ENOENT);
  EXPECT_EQ(calls, 1);
}

TEST_F(CallerRightsTest, ACallerWithoutFurtherRightsIsNotTriedAgain) {
  const Client client(kAlice);
  int calls = 0;
  auto refused = as_caller(caller_of(kAlice, client.pid()), [&]() -> Result<void> {
    ++calls;
    return Err(EACCES);
  });
  EXPECT_EQ(refused.error(), EACCES);
  EXPECT_EQ(calls, 1);
}

TEST_F(CallerRightsTest, ACallerThatCannotBeSeenHasNoFurtherRights) {
  int calls = 0;
  auto refused = as_caller(caller_of(kAlice, 0), [&]() -> Result<void> {
    ++calls;
    return Err(EPERM);
  });
  EXPECT_EQ(refused.error(), EPERM);
  EXPECT_EQ(calls, 1);
}

TEST_F(CallerRightsTest, CapabilitiesOfTheCallerCount) {
  make_directory("private", 0, 0700);
  const Client client(kAlice);
  EXPECT_FALSE(
      as_caller(caller_of(kAlice, client.pid()), [&] { return create("private/no"); }).has_value());
  const Client strong(test::kRoot, [] {
    ASSERT_EQ(::prctl(PR_SET_KEEPCAPS, 1), 0);
    ASSERT_EQ(::setresgid(kAlice.gid, kAlice.gid, kAlice.gid), 0);
    ASSERT_EQ(::setresuid(kAlice.uid, kAlice.uid, kAlice.uid), 0);
    set_capabilities(1ULL << CAP_DAC_OVERRIDE, 1ULL << CAP_DAC_OVERRIDE);
  });
  EXPECT_TRUE(as_caller(caller_of(kAlice, strong.pid()), [&] {
                EXPECT_FALSE(Now::read().has(CAP_FOWNER)) << "that one it has not got";
                return create("private/yes");
              }).has_value());
  EXPECT_EQ(stat("private/yes").st_uid, kAlice.uid);
}

TEST_F(CallerRightsTest, ReadsIdsGroupsAndCapabilities) {
  test::Identity alice = kAlice;
  alice.groups = {kGroup, kOther};
  const Client client(alice);
  auto rights = CallerRights::read(client.pid());
  ASSERT_TRUE(rights.has_value());
  EXPECT_EQ(rights->uid, kAlice.uid);
  EXPECT_EQ(rights->gid, kAlice.gid);
  EXPECT_EQ(rights->groups, (std::vector<gid_t>{kGroup, kOther}));
  EXPECT_EQ(rights->file_capabilities, 0U);
  auto own = CallerRights::read(static_cast<pid_t>(::syscall(SYS_gettid)));
  ASSERT_TRUE(own.has_value());
  EXPECT_EQ(own->uid, 0U);
  EXPECT_NE(own->file_capabilities & kCapDacReadSearch, 0U);
  EXPECT_EQ(own->file_capabilities >> CAP_SYS_ADMIN & 1, 0U) << "not one over files";
}

TEST_F(CallerRightsTest, ReadsMoreGroupsThanOnePageHolds) {
  test::Identity alice = kAlice;
  for (gid_t gid = 60'000; gid < 62'000; ++gid) alice.groups.push_back(gid);
  const Client client(alice);
  auto rights = CallerRights::read(client.pid());
  ASSERT_TRUE(rights.has_value());
  EXPECT_EQ(rights->groups, alice.groups);
}

TEST_F(CallerRightsTest, AThreadsOwnRightsAreRead) {
  std::atomic<pid_t> thread_id{0};
  std::atomic<bool> leave{false};
  std::thread thread([&] {
    const std::array<gid_t, 1> groups{kGroup};
    EXPECT_EQ(::syscall(SYS_setgroups, groups.size(), groups.data()), 0);
    thread_id.store(static_cast<pid_t>(::syscall(SYS_gettid)));
    while (!leave.load()) std::this_thread::yield();
  });
  while (thread_id.load() == 0) std::this_thread::yield();
  auto rights = CallerRights::read(thread_id.load());
  leave.store(true);
  thread.join();
  ASSERT_TRUE(rights.has_value());
  EXPECT_EQ(rights->groups, std::vector<gid_t>{kGroup});
}

TEST_F(CallerRightsTest, AProcessThatIsGoneHasNoRights) {
  for (const pid_t pid : {0, -1, 0x3fffffff}) {
    auto rights = CallerRights::read(pid);
    ASSERT_FALSE(rights.has_value()) << pid;
    EXPECT_EQ(rights.error(), ESRCH);
  }
}

TEST_F(CallerRightsTest, AProcessNameCannotForgeRights) {
  const Client client(kAlice, [] { (void)::prctl(PR_SET_NAME, "x\nGroups:\t0\nU"); });
  auto rights = CallerRights::read(client.pid());
  ASSERT_TRUE(rights.has_value());
  EXPECT_EQ(rights->uid, kAlice.uid);
  EXPECT_TRUE(rights->groups.empty());
}

// In a user namespace of one's own one has all capabilities, over nothing of the daemon's.
TEST_F(CallerRightsTest, CapabilitiesOfAnotherUserNamespaceDoNotCount) {
  const Client client(kAlice, [] { (void)::unshare(CLONE_NEWUSER); });
  const std::string status = test::read_file("/proc/" + std::to_string(client.pid()) + "/status");
  if (status.find("CapEff:\t0000000000000000") != std::string::npos) {
    GTEST_SKIP() << "users may not make user namespaces here";
  }
  auto rights = CallerRights::read(client.pid());
  ASSERT_TRUE(rights.has_value());
  EXPECT_EQ(rights->file_capabilities, 0U);
  EXPECT_EQ(rights->uid, kAlice.uid) << "as seen from here";
}

// A file system stacked on the mount, or a kernel service, asks in the name of one user while a
// process of another is at work; and the number of a process that was killed may be another's.
TEST_F(CallerRightsTest, RightsOfAProcessWithOtherIdsAreNotTheCallers) {
  make_directory("private", 0, 0700);
  const Client root(test::kRoot);
  int calls = 0;
  auto refused = as_caller(caller_of(kAlice, root.pid()), [&] {
    ++calls;
    return create("private/file");
  });
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error(), EACCES);
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(CallerRights::of(caller_of(kAlice, root.pid())).has_value());
  EXPECT_TRUE(CallerRights::of(caller_of(test::kRoot, root.pid())).has_value());
}

TEST_F(CallerRightsTest, GroupsOfAProcessWithOtherIdsAreNotTheCallers) {
  make_directory("shared", kGroup, 0770);
  test::Identity bob = kBob;
  bob.groups = {kGroup};
  const Client client(bob);
  auto refused =
      as_caller_with_groups(caller_of(kAlice, client.pid()), [&] { return create("shared/file"); });
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error(), EACCES);
}

}  // namespace
}  // namespace passthroughfs
