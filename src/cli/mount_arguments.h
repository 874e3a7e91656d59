// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "ops/options.h"
#include "passthroughfs/result.h"

namespace passthroughfs {

// The command line of `passthroughfs SOURCE MOUNTPOINT ...`.
struct MountArguments {
  MountConfig config;  // source and mountpoint as given; the options applied
  // The mount options in order, checked, for Filesystem::configure.
  std::vector<std::pair<std::string, std::string>> options;
  bool foreground = false;
  bool debug = false;    // -d: a line per request; implies foreground
  bool help = false;     // then nothing else was looked at
  bool version = false;  // likewise
  std::string log_file;  // empty: stderr in the foreground, else syslog
};

// Errors: EINVAL, ENOTSUP with a complete message.
Outcome<MountArguments> parse_mount_arguments(Arguments arguments);

// One word after -o: "ro,cache=none,fsname=a\,b". As in other FUSE programs, a backslash takes the
// meaning from the next character, and three octal digits after it are a byte.
[[nodiscard]] std::vector<std::string> split_options(std::string_view word);

// The text of --help.
[[nodiscard]] std::string mount_help();

}  // namespace passthroughfs
