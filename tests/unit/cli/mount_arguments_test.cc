// SPDX-License-Identifier: Apache-2.0
#include "cli/mount_arguments.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <initializer_list>

#include "embed/mount_options.h"

namespace passthroughfs {
namespace {

Outcome<MountArguments> parse(std::initializer_list<const char*> words) {
  const std::vector<const char*> list(words);
  return parse_mount_arguments(list);
}

std::string error_of(std::initializer_list<const char*> words) {
  const auto parsed = parse(words);
  return parsed ? "no error" : parsed.error().message;
}

using Options = std::vector<std::string>;

TEST(SplitOptions, CutsAtCommas) {
  EXPECT_EQ(split_options("a,b=c,d"), (Options{"a", "b=c", "d"}));
  EXPECT_EQ(split_options(",,a,,"), Options{"a"});
  EXPECT_EQ(split_options(""), Options{});
}

TEST(SplitOptions, ABackslashTakesTheMeaningFromTheNextCharacter) {
  EXPECT_EQ(split_options("fsname=a\\,b,ro"), (Options{"fsname=a,b", "ro"}));
  EXPECT_EQ(split_options("a\\\\b"), Options{"a\\b"});
  EXPECT_EQ(split_options("a\\"), Options{"a\\"});
  EXPECT_EQ(split_options("a\\xb"), Options{"axb"});
}

TEST(SplitOptions, ThreeOctalDigitsAreAByte) {
  EXPECT_EQ(split_options("a\\054b\\040c"), Options{"a,b c"});
  EXPECT_EQ(split_options("a\\377"), Options{"a\xFF"});
  EXPECT_EQ(split_options("a\\400"), Options{"a400"});
  EXPECT_EQ(split_options("a\\05"), Options{"a05"});
}

TEST(MountArguments, TakeSourceAndMountpoint) {
  const auto parsed = parse({"/s", "/m"});
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->config.source, "/s");
  EXPECT_EQ(parsed->config.mountpoint, "/m");
  EXPECT_FALSE(parsed->foreground);
  EXPECT_TRUE(parsed->options.empty());
}

TEST(MountArguments, TakeAnOptionInEveryForm) {
  for (const auto& words :
       std::vector<std::vector<const char*>>{{"s", "m", "-o", "cache=none"},
                                             {"s", "m", "-ocache=none"},
                                             {"s", "m", "--cache=none"},
                                             {"s", "m", "--cache", "none"},
                                             {"-o", "cache=none", "s", "m"},
                                             {"s", "--cache", "none", "m"},
                                             {"--cache=none", "--", "s", "m"},
                                             {"s", "m", "-fo", "cache=none"},
                                             {"s", "m", "-o", "ro", "-o", "cache=none"},
                                             {"s", "m", "-o", "cache=forever,cache=none"}}) {
    const auto parsed = parse_mount_arguments(words);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->config.cache, CacheMode::none);
    EXPECT_EQ(parsed->config.source, "s");
    EXPECT_EQ(parsed->config.mountpoint, "m");
    EXPECT_EQ(parsed->options.back(), (std::pair<std::string, std::string>("cache", "none")));
  }
}

TEST(MountArguments, TakeEveryMountOptionByBothWays) {
  for (const MountOption& option : mount_options()) {
    std::string text(option.name);
    if (option.kind == ValueKind::choice) {
      text += "=" + std::string(option.values.substr(0, option.values.find('|')));
      if (option.name == "recover") text = "recover=off";
    } else if (option.kind == ValueKind::value) {
      text += option.name == "journal"             ? "=off"
              : option.values.starts_with("NAME")  ? "=name"
              : option.values.starts_with("BYTES") ? "=65536"
                                                   : "=2";
    }
    const std::string dashed = "--" + text;
    const auto by_o = parse({"s", "m", "-o", text.c_str()});
    const auto by_name = parse({"s", "m", dashed.c_str()});
    EXPECT_TRUE(by_o) << by_o.error().message;
    EXPECT_TRUE(by_name) << by_name.error().message;
  }
}

TEST(MountArguments, TakeTheProgramsOwnOptions) {
  EXPECT_TRUE(parse({"s", "m", "-f"})->foreground);
  EXPECT_FALSE(parse({"s", "m", "-f"})->debug);
  EXPECT_TRUE(parse({"s", "m", "--foreground"})->foreground);
  const auto debug = parse({"s", "m", "-d"});
  EXPECT_TRUE(debug->foreground);
  EXPECT_TRUE(debug->debug);
  EXPECT_TRUE(debug->config.trace);
  EXPECT_EQ(parse({"s", "m", "--log", "l"})->log_file, "l");
  EXPECT_EQ(parse({"s", "m", "--log=l"})->log_file, "l");
  EXPECT_EQ(parse({"s", "m", "-o", "log=l,ro"})->log_file, "l");
  EXPECT_TRUE(parse({"--help", "nonsense"})->help);
  EXPECT_TRUE(parse({"-h"})->help);
  EXPECT_TRUE(parse({"--version"})->version);
  EXPECT_TRUE(parse({"s", "-V"})->version);
}

TEST(MountArguments, TakeWhatMountProgramsPass) {
  const auto parsed = parse({"s", "m", "-n", "-sv", "-t", "fuse.passthroughfs", "-o",
                             ("rw,defaults,auto,noauto,user,users,nouser,_netdev,nofail,async,dev,"
                              "suid,exec,atime,relatime,default_permissions,x-systemd.automount,"
                              "x-foo=bar,user=alice")});
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_FALSE(parsed->config.read_only);
}

TEST(MountArguments, TheLastWordOfAPairCounts) {
  EXPECT_FALSE(parse({"s", "m", "-o", "ro,rw"})->config.read_only);
  EXPECT_TRUE(parse({"s", "m", "-o", "rw,ro"})->config.read_only);
  EXPECT_FALSE(parse({"s", "m", "-o", "nodev,dev,noatime,relatime"})->config.noatime);
}

TEST(MountArguments, AfterTwoDashesEverythingIsAPath) {
  const auto parsed = parse({"--", "-s", "--m"});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->config.source, "-s");
  EXPECT_EQ(parsed->config.mountpoint, "--m");
}

TEST(MountArguments, NameTheUnknownOptionAndTheNearestKnownOne) {
  EXPECT_EQ(error_of({"s", "m", "-o", "cahce=none"}),
            "unknown option 'cahce'; did you mean 'cache'?");
  EXPECT_EQ(error_of({"s", "m", "--allow-other"}),
            "unknown option 'allow-other'; did you mean 'allow_other'?");
  EXPECT_EQ(error_of({"s", "m", "--forground"}),
            "unknown option 'forground'; did you mean 'foreground'?");
  EXPECT_EQ(error_of({"s", "m", "--zzzzzz"}), "unknown option 'zzzzzz'");
  EXPECT_EQ(error_of({"s", "m", "-x"}), "unknown option '-x'");
}

TEST(MountArguments, NameWhatAValueMayBe) {
  EXPECT_EQ(error_of({"s", "m", "--cache=off"}),
            "bad value 'off' for option 'cache'; allowed: normal, none, forever, coherent");
  EXPECT_EQ(error_of({"s", "m", "--cache"}),
            "option 'cache' needs a value: normal, none, forever, coherent");
  EXPECT_EQ(error_of({"s", "m", "--log"}), "option 'log' needs a value: FILE");
  EXPECT_EQ(error_of({"s", "m", "--ro=yes"}), "option 'ro' takes no value, but 'yes' was given");
  EXPECT_EQ(error_of({"s", "m", "-o"}), "option -o needs a value");
}

TEST(MountArguments, SayWhichPathIsMissingOrTooMuch) {
  EXPECT_EQ(error_of({}).substr(0, 35), "no SOURCE and MOUNTPOINT given; usa");
  EXPECT_EQ(error_of({"s"}).substr(0, 20), "no MOUNTPOINT given;");
  EXPECT_EQ(error_of({"s", "m", "x"}), "unexpected word 'x' after SOURCE and MOUNTPOINT");
  EXPECT_EQ(error_of({"", "m"}), "SOURCE and MOUNTPOINT must not be empty");
}

TEST(MountHelp, NamesEveryOption) {
  const std::string help = mount_help();
  for (const MountOption& option : mount_options()) {
    EXPECT_NE(help.find("--" + std::string(option.name)), std::string::npos) << option.name;
  }
}

}  // namespace
}  // namespace passthroughfs
