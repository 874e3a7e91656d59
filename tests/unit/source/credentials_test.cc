// SPDX-License-Identifier: Apache-2.0
#include "source/credentials.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "credentials_fixture.h"
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
using CredentialsTest = test::CredentialsFixture;

TEST_F(CredentialsTest, WhatIsCreatedBelongsToTheCaller) {
  const Caller alice = caller_of(kAlice);
  EXPECT_TRUE(as_caller(alice, [&] { return create("file"); }).has_value());
  EXPECT_TRUE(as_caller(alice, [&] {
                return check_void(::mkdir(path("directory").c_str(), 0755));
              }).has_value());
  EXPECT_TRUE(as_caller(alice, [&] {
                return check_void(::symlink("x", path("link").c_str()));
              }).has_value());
  EXPECT_TRUE(as_caller(alice, [&] {
                return check_void(::mkfifo(path("fifo").c_str(), 0600));
              }).has_value());
  for (const char* name : {"file", "directory", "link", "fifo"}) {
    EXPECT_EQ(stat(name).st_uid, kAlice.uid) << name;
    EXPECT_EQ(stat(name).st_gid, kAlice.gid) << name;
  }
}

TEST_F(CredentialsTest, RootActsAsItself) {
  const Caller root = caller_of(test::kRoot);
  EXPECT_TRUE(as_caller(root, [&]() -> Result<void> {
                EXPECT_EQ(Now::read(), before_);
                return create("file");
              }).has_value());
  EXPECT_EQ(stat("file").st_uid, 0U);
}

TEST_F(CredentialsTest, RootWithAnotherGroupCreatesWithThatGroup) {
  Caller root = caller_of(test::kRoot);
  root.gid = kGroup;
  EXPECT_TRUE(as_caller(root, [&] { return create("file"); }).has_value());
  EXPECT_EQ(stat("file").st_uid, 0U);
  EXPECT_EQ(stat("file").st_gid, kGroup);
}

TEST_F(CredentialsTest, TheSourceRefusesWhatTheCallerMayNot) {
  make_directory("private", 0, 0755);
  auto refused = as_caller(caller_of(kAlice), [&] { return create("private/file"); });
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error(), EACCES);
}

TEST_F(CredentialsTest, TheGroupsOfTheRequestCount) {
  make_directory("shared", kGroup, 0770);
  Caller alice = caller_of(kAlice);
  EXPECT_FALSE(as_caller(alice, [&] { return create("shared/without"); }).has_value());
  const std::array<std::uint32_t, 1> groups{kGroup};
  alice.groups = groups;
  EXPECT_TRUE(as_caller(alice, [&] { return create("shared/with"); }).has_value());
  EXPECT_EQ(Now::read().groups, std::vector<gid_t>{});
}

TEST_F(CredentialsTest, ASetGroupIdDirectoryPassesItsGroupOn) {
  make_directory("shared", kGroup, 02777);
  const Caller alice = caller_of(kAlice);
  EXPECT_TRUE(as_caller(alice, [&] { return create("shared/file"); }).has_value());
  EXPECT_TRUE(as_caller(alice, [&] {
                return check_void(::mkdir(path("shared/directory").c_str(), 0755));
              }).has_value());
  EXPECT_EQ(stat("shared/file").st_gid, kGroup);
  EXPECT_EQ(stat("shared/directory").st_gid, kGroup);
  EXPECT_EQ(stat("shared/directory").st_mode & 07777, 02755U);
}

// Creating a set-group-ID program in a directory of a group that one is not in.
TEST_F(CredentialsTest, ANonMemberCannotMakeASetGroupIdFileOfADirectorysGroup) {
  make_directory("shared", kGroup, 02777);
  EXPECT_TRUE(
      as_caller(caller_of(kAlice), [&] { return create("shared/file", 02775); }).has_value());
  EXPECT_EQ(stat("shared/file").st_mode & 07777, 0775U);
}

// --- Set-id bits
// ------------------------------------------------------------------------------------

TEST_F(CredentialsTest, AWriteByTheCallerTakesSetIdBitsAway) {
  make_owned("program", kAlice.uid, kAlice.gid, 06777);
  const UniqueFd fd(::open(path("program").c_str(), O_WRONLY | O_CLOEXEC));
  EXPECT_EQ(::write(fd.get(), "x", 1), 1);
  EXPECT_EQ(stat("program").st_mode & 07777, 06777U) << "root has CAP_FSETID";
  EXPECT_TRUE(
      as_caller(caller_of(kBob), [&] { return check(::write(fd.get(), "x", 1)); }).has_value());
  EXPECT_EQ(stat("program").st_mode & 07777, 0777U);
}

TEST_F(CredentialsTest, ACallerCannotSetTheGroupIdBitOfAForeignGroup) {
  make_owned("program", kAlice.uid, kGroup, 0755);
  EXPECT_TRUE(
      as_caller(caller_of(kAlice), [&] { return change_mode("program", 02755); }).has_value());
  EXPECT_EQ(stat("program").st_mode & 07777, 0755U);
}

TEST_F(CredentialsTest, WithAllGroupsAMemberCanSetTheGroupIdBit) {
  make_owned("program", kAlice.uid, kGroup, 0755);
  test::Identity alice = kAlice;
  alice.groups = {kGroup};
  const Client client(alice);
  const Caller caller = caller_of(alice, client.pid());
  EXPECT_TRUE(
      as_caller_with_groups(caller, [&] { return change_mode("program", 02755); }).has_value());
  EXPECT_EQ(stat("program").st_mode & 07777, 02755U);
}

TEST_F(CredentialsTest, WithAllGroupsRootActsAsItself) {
  EXPECT_TRUE(as_caller_with_groups(caller_of(test::kRoot), [&]() -> Result<void> {
                EXPECT_EQ(Now::read(), before_);
                return ok();
              }).has_value());
}

TEST_F(CredentialsTest, WithAllGroupsACallerThatCannotBeSeenStillActs) {
  EXPECT_TRUE(
      as_caller_with_groups(caller_of(kAlice, 0), [&] { return create("file"); }).has_value());
  EXPECT_EQ(stat("file").st_uid, kAlice.uid);
}

TEST_F(CredentialsTest, RootWithoutFsetidLosesSetIdBitsToo) {
  make_owned("program", 0, 0, 06777);
  const UniqueFd fd(::open(path("program").c_str(), O_WRONLY | O_CLOEXEC));
  {
    const WithoutFsetid active(false);
    EXPECT_EQ(::write(fd.get(), "x", 1), 1);
    EXPECT_EQ(stat("program").st_mode & 07777, 06777U);
  }
  {
    const WithoutFsetid active(true);
    EXPECT_FALSE(Now::read().has(CAP_FSETID));
    EXPECT_EQ(::write(fd.get(), "x", 1), 1);
    EXPECT_EQ(stat("program").st_mode & 07777, 0777U);
  }
  EXPECT_TRUE(Now::read().has(CAP_FSETID));
}

TEST_F(CredentialsTest, WithoutFsetidNestsInAnIdentity) {
  const ActingAs acting(kAlice.uid, kAlice.gid, {}, kCapFsetid);
  EXPECT_TRUE(Now::read().has(CAP_FSETID));
  {
    const WithoutFsetid active(true);
    EXPECT_FALSE(Now::read().has(CAP_FSETID));
  }
  EXPECT_TRUE(Now::read().has(CAP_FSETID));
}

// --- The scope itself
// -------------------------------------------------------------------------------

TEST_F(CredentialsTest, TheIdentityIsWholeInsideTheScope) {
  const std::array<std::uint32_t, 2> groups{kGroup, kOther};
  const ActingAs acting(kAlice.uid, kAlice.gid, groups);
  EXPECT_TRUE(acting.ok());
  const Now now = Now::read();
  EXPECT_EQ(now.uid, kAlice.uid);
  EXPECT_EQ(now.gid, kAlice.gid);
  EXPECT_EQ(now.groups, (std::vector<gid_t>{kGroup, kOther}));
  for (const int capability : {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
                               CAP_FSETID, CAP_LINUX_IMMUTABLE, CAP_MKNOD}) {
    EXPECT_FALSE(now.has(capability)) << capability;
  }
}

TEST_F(CredentialsTest, ExtraCapabilitiesAreKeptAndNoOthers) {
  const ActingAs acting(kAlice.uid, kAlice.gid, {}, kCapDacReadSearch);
  EXPECT_TRUE(Now::read().has(CAP_DAC_READ_SEARCH));
  EXPECT_FALSE(Now::read().has(CAP_DAC_OVERRIDE));
}

TEST_F(CredentialsTest, EverythingIsPutBackHoweverTheScopeEnds) {
  const std::array<std::uint32_t, 1> groups{kGroup};
  for (const auto& [uid, gid] : {std::pair<uid_t, gid_t>{kAlice.uid, kAlice.gid},
                                 {0, kAlice.gid},
                                 {kAlice.uid, 0},
                                 {0, 0}}) {
    for (const std::uint64_t extra : {std::uint64_t{0}, kCapFsetid | kCapDacReadSearch}) {
      { const ActingAs acting(uid, gid, groups, extra); }
      set_thread_reserves(true);
      EXPECT_EQ(Now::read(), before_) << uid << " " << gid << " " << extra;
    }
  }
  EXPECT_THROW((void)as_caller(caller_of(kAlice), []() -> Result<void> { throw 1; }), int);
  set_thread_reserves(true);
  EXPECT_EQ(Now::read(), before_);
  (void)as_caller(caller_of(kAlice), []() -> Result<void> { return Err(EIO); });
}

// setfsuid(2) with an id that does not exist changes nothing and reports nothing.
TEST_F(CredentialsTest, AnIdThatDoesNotExistIsRefusedAndNotRootsTurn) {
  for (const auto& [uid, gid] : {std::pair<uid_t, gid_t>{static_cast<uid_t>(-1), kAlice.gid},
                                 {kAlice.uid, static_cast<gid_t>(-1)},
                                 {static_cast<uid_t>(-1), static_cast<gid_t>(-1)}}) {
    Caller caller;
    caller.uid = uid;
    caller.gid = gid;
    int calls = 0;
    const auto call = [&]() -> Result<void> {
      ++calls;
      return ok();
    };
    auto refused = as_caller(caller, call);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error(), EPERM);
    EXPECT_FALSE(as_caller_with_groups(caller, call).has_value());
    EXPECT_EQ(calls, 0);
    EXPECT_FALSE(ActingAs(uid, gid, {}).ok());
  }
}

TEST_F(CredentialsTest, AnInnerScopeGivesBackTheOuterIdentity) {
  const ActingAs outer(kAlice.uid, kAlice.gid, {});
  { const ActingAs inner(kBob.uid, kBob.gid, {}); }
  EXPECT_EQ(Now::read().uid, kAlice.uid);
  EXPECT_EQ(Now::read().gid, kAlice.gid);
  EXPECT_FALSE(Now::read().has(CAP_DAC_OVERRIDE));
}

TEST_F(CredentialsTest, OtherThreadsStayWhatTheyAre) {
  std::atomic<int> stage{0};
  const auto wait_for = [&](int wanted) {
    while (stage.load() < wanted) std::this_thread::yield();
  };
  std::thread other([&] {
    stage.store(1);
    wait_for(2);
    EXPECT_EQ(Now::read(), before_);
    EXPECT_TRUE(create("others").has_value());
    stage.store(3);
  });
  wait_for(1);
  {
    const std::array<std::uint32_t, 1> groups{kGroup};
    const ActingAs acting(kAlice.uid, kAlice.gid, groups, kCapFsetid);
    stage.store(2);
    wait_for(3);
    EXPECT_TRUE(create("mine").has_value());
  }
  other.join();
  EXPECT_EQ(stat("others").st_uid, 0U);
  EXPECT_EQ(stat("mine").st_uid, kAlice.uid);
}

// Blocks that a file system reserves for root, and exemption from quota limits. In a user namespace
// of its own, because containers often lack the capability in question.
TEST_F(CredentialsTest, OnlyRootsRequestsMayUseReserves) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "a process with threads, such as the sanitizer's own, gets no user namespace";
#endif
  test::Gate entered;
  test::Gate mapped;
  test::Child daemon([&] {
    ASSERT_EQ(::unshare(CLONE_NEWUSER), 0) << Errno::last().to_string();
    entered.pass();
    ASSERT_TRUE(mapped.wait());
    // A call that finds no room without them.
    const auto reserves = [](const test::Identity& who) {
      return as_caller(caller_of(who),
                       [&]() -> Result<void> {
                         if (!Now::read().has(CAP_SYS_RESOURCE)) return Err(ENOSPC);
                         return ok();
                       })
          .has_value();
    };
    ASSERT_TRUE(Now::read().has(CAP_SYS_RESOURCE));
    EXPECT_TRUE(reserves(test::kRoot));
    EXPECT_FALSE(reserves(kAlice));
    EXPECT_FALSE(reserves(kAlice));
    EXPECT_TRUE(reserves(test::kRoot));
    test::Identity root_of_group = test::kRoot;
    root_of_group.gid = kGroup;
    EXPECT_FALSE(reserves(kAlice));
    EXPECT_TRUE(reserves(root_of_group));
    // Where there is room they are not touched.
    set_thread_reserves(false);
    EXPECT_TRUE(as_caller(caller_of(test::kRoot), []() -> Result<void> { return ok(); }));
    EXPECT_FALSE(thread_has_reserves());
  });
  ASSERT_TRUE(entered.wait());
  for (const char* map : {"uid_map", "gid_map"}) {
    test::write_file("/proc/" + std::to_string(daemon.pid()) + "/" + map, "0 0 4294967295");
  }
  mapped.pass();
  EXPECT_TRUE(daemon.join());
}

// --- Umask
// ------------------------------------------------------------------------------------------

TEST_F(CredentialsTest, EachThreadHasAUmaskOfItsOwn) {
  std::atomic<int> stage{0};
  const auto wait_for = [&](int wanted) {
    while (stage.load() < wanted) std::this_thread::yield();
  };
  std::thread first([&] {
    EXPECT_TRUE(own_umask());
    set_thread_umask(077);
    stage.store(1);
    wait_for(2);
    EXPECT_TRUE(create("first", 0666).has_value());
    EXPECT_EQ(stat("first").st_mode & 07777, 0600U);
  });
  std::thread second([&] {
    EXPECT_TRUE(own_umask());
    wait_for(1);
    set_thread_umask(022);
    stage.store(2);
    EXPECT_TRUE(create("second", 0666).has_value());
    EXPECT_EQ(stat("second").st_mode & 07777, 0644U);
  });
  first.join();
  second.join();
  EXPECT_TRUE(create("own", 0666).has_value());
  EXPECT_EQ(stat("own").st_mode & 07777, 0666U);
}

TEST_F(CredentialsTest, AThreadKeepsItsUmaskUntilTheNextCall) {
  set_thread_umask(027);
  set_thread_umask(027);
  EXPECT_TRUE(create("a", 0777).has_value());
  EXPECT_EQ(stat("a").st_mode & 07777, 0750U);
  set_thread_umask(0);
  EXPECT_TRUE(create("b", 0777).has_value());
  EXPECT_EQ(stat("b").st_mode & 07777, 0777U);
}

}  // namespace
}  // namespace passthroughfs
