// SPDX-License-Identifier: Apache-2.0
#include "embed/mount_options.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>

namespace passthroughfs {
namespace {

Outcome<void> set(MountConfig& config, std::string_view name, std::string_view value = {}) {
  return apply_mount_option(config, name, value, !value.empty());
}

std::string error_of(std::string_view name, std::string_view value = {}) {
  MountConfig config;
  const auto done = set(config, name, value);
  return done ? "no error" : done.error().message;
}

TEST(MountOptions, SetTheirFields) {
  MountConfig config;
  EXPECT_TRUE(set(config, "handles", "stateless"));
  EXPECT_EQ(config.handles, HandleMode::stateless);
  EXPECT_TRUE(set(config, "io", "daemon"));
  EXPECT_EQ(config.io, IoMode::daemon);
  EXPECT_TRUE(set(config, "io", "passthrough"));
  EXPECT_EQ(config.io, IoMode::passthrough);
  EXPECT_TRUE(set(config, "transport", "uring"));
  EXPECT_EQ(config.transport, TransportMode::uring);
  EXPECT_TRUE(set(config, "transport", "dev"));
  EXPECT_EQ(config.transport, TransportMode::dev);
  EXPECT_TRUE(set(config, "cache", "coherent"));
  EXPECT_EQ(config.cache, CacheMode::coherent);
  EXPECT_TRUE(set(config, "threads", "7"));
  EXPECT_EQ(config.threads, 7U);
  EXPECT_TRUE(set(config, "max_read", "128K"));
  EXPECT_EQ(config.max_read, 131072U);
  EXPECT_TRUE(set(config, "max_write", "1m"));
  EXPECT_EQ(config.max_write, 1048576U);
  EXPECT_TRUE(set(config, "fsname", "name"));
  EXPECT_EQ(config.fsname, "name");
  EXPECT_TRUE(set(config, "subtype", "type"));
  EXPECT_EQ(config.subtype, "type");
  for (const auto& [name, field] : std::to_array<std::pair<const char*, bool MountConfig::*>>(
           {{"ro", &MountConfig::read_only},
            {"allow_other", &MountConfig::allow_other},
            {"allow_root", &MountConfig::allow_root},
            {"noatime", &MountConfig::noatime},
            {"nodev", &MountConfig::nodev},
            {"nosuid", &MountConfig::nosuid},
            {"noexec", &MountConfig::noexec}})) {
    EXPECT_FALSE(config.*field) << name;
    EXPECT_TRUE(set(config, name)) << name;
    EXPECT_TRUE(config.*field) << name;
  }
}

TEST(MountOptions, TheFirstValueIsTheDefault) {
  const MountConfig untouched;
  MountConfig config;
  for (const MountOption& option : mount_options()) {
    if (option.kind != ValueKind::choice || option.name == "recover") continue;
    ASSERT_TRUE(set(config, option.name, option.values.substr(0, option.values.find('|'))));
  }
  EXPECT_EQ(config.handles, untouched.handles);
  EXPECT_EQ(config.io, untouched.io);
  EXPECT_EQ(config.transport, untouched.transport);
  EXPECT_EQ(config.cache, untouched.cache);
}

TEST(MountOptions, RecoverIsOnOrOff) {
  MountConfig config;
  ASSERT_TRUE(set(config, "recover", "on"));
  EXPECT_TRUE(config.recover);
  ASSERT_TRUE(set(config, "recover", "off"));
  EXPECT_FALSE(config.recover);
  EXPECT_NE(error_of("recover", "maybe"), "no error");
}

TEST(MountOptions, AJournalIsAFileOrOneOfTwoWords) {
  MountConfig config;
  ASSERT_TRUE(set(config, "journal", "memory"));
  EXPECT_EQ(config.journal, JournalMode::memory);
  ASSERT_TRUE(set(config, "journal", "/some/file"));
  EXPECT_EQ(config.journal, JournalMode::file);
  EXPECT_EQ(config.journal_file, "/some/file");
  ASSERT_TRUE(set(config, "journal", "off"));
  EXPECT_EQ(config.journal, JournalMode::off);
  EXPECT_EQ(config.journal_file, "");
  EXPECT_NE(error_of("journal", ""), "no error");
}

TEST(MountOptions, LimitsOfPatienceAreNumbersOfSeconds) {
  MountConfig config;
  EXPECT_EQ(config.hung_after, 10U);
  EXPECT_EQ(config.replace_after, 30U);
  for (const auto& [name, field] : std::to_array<std::pair<const char*, unsigned MountConfig::*>>(
           {{"hung_after", &MountConfig::hung_after},
            {"replace_after", &MountConfig::replace_after}})) {
    ASSERT_TRUE(set(config, name, "0"));
    EXPECT_EQ(config.*field, 0U);
    ASSERT_TRUE(set(config, name, "86400"));
    EXPECT_EQ(config.*field, 86400U);
    for (const std::string_view value : {"-1", "1.5", "1s", "86401", ""}) {
      EXPECT_NE(error_of(name, value), "no error") << value;
    }
  }
}

TEST(MountOptions, WordsOfFstabThatAreForOthersAreIgnored) {
  MountConfig config;
  for (const char* name : {"defaults", "noauto", "user", "owner", "group", "nofail", "_netdev",
                           "comment", "x-systemd.automount", "X-mount.mkdir", "nodiratime"}) {
    EXPECT_TRUE(set(config, name)) << name;
  }
  EXPECT_TRUE(set(config, "comment", "a text"));
  ASSERT_TRUE(set(config, "noatime"));
  EXPECT_TRUE(set(config, "strictatime"));
  EXPECT_FALSE(config.noatime);
  // These would promise something.
  for (const char* name : {"sync", "dirsync", "mand", "nosymfollow"}) {
    EXPECT_NE(error_of(name), "no error") << name;
  }
}

TEST(MountOptions, RefuseBadNumbers) {
  for (const std::string_view value :
       {"0", "-1", "x", "1x", "1025", "99999999999999999999", "1 "}) {
    EXPECT_EQ(error_of("threads", value).substr(0, 9), "bad value") << value;
  }
  for (const std::string_view value :
       {"0", "4095", "17M", "4294967296", "5000000000K", "K", "4k4"}) {
    EXPECT_EQ(error_of("max_write", value).substr(0, 9), "bad value") << value;
  }
}

TEST(MountOptions, RefuseBadChoices) {
  for (const std::string_view value : {"norma", "normall", "none|forever", "|", "NORMAL"}) {
    EXPECT_EQ(error_of("cache", value).substr(0, 9), "bad value") << value;
  }
}

TEST(MountOptions, ChangeNothingWhenRefused) {
  MountConfig config;
  EXPECT_FALSE(set(config, "cache", "nothing"));
  EXPECT_FALSE(set(config, "threads", "0"));
  EXPECT_EQ(config.cache, CacheMode::normal);
  EXPECT_EQ(config.threads, 0U);
}

TEST(MountOptions, RefuseARemount) {
  EXPECT_EQ(error_of("remount"), "a mount cannot be changed; unmount it first");
}

TEST(NearestName, FindsTypos) {
  constexpr std::array<std::string_view, 4> kNames = {"cache", "handles", "ro", "threads"};
  EXPECT_EQ(nearest_name("cahce", kNames), "cache");
  EXPECT_EQ(nearest_name("cach", kNames), "cache");
  EXPECT_EQ(nearest_name("ccache", kNames), "cache");
  EXPECT_EQ(nearest_name("thread", kNames), "threads");
  EXPECT_EQ(nearest_name("handle", kNames), "handles");
}

TEST(NearestName, SaysNothingWhenNothingIsNear) {
  constexpr std::array<std::string_view, 2> kNames = {"cache", "ro"};
  EXPECT_EQ(nearest_name("handles", kNames), "");
  EXPECT_EQ(nearest_name("xy", kNames), "");
  EXPECT_EQ(nearest_name("", kNames), "");
  EXPECT_EQ(nearest_name(std::string(100000, 'c'), kNames), "");
}

}  // namespace
}  // namespace passthroughfs
