// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <map>
#include <optional>

#include "base/signals.h"
#include "cli/commands.h"
#include "cli/daemonize.h"
#include "cli/logging.h"
#include "cli/mount_arguments.h"
#include "cli/report.h"
#include "cli/service.h"
#include "embed/mount_options.h"
#include "embed/upgrade.h"
#include "passthroughfs/filesystem.h"
#include "passthroughfs/version.h"

namespace passthroughfs {
namespace {

// `directory`: of the log file, if another program has it open; -1.
Outcome<void> set_up_log(const MountArguments& arguments, int directory = -1) {
  const LogLevel lowest = arguments.debug ? LogLevel::debug : LogLevel::info;
  if (!arguments.log_file.empty()) {
    return log_to_file(arguments.log_file, lowest, directory);
  }
  if (arguments.foreground) {
    log_to_stderr(lowest);
  } else {
    log_to_syslog(lowest);
  }
  return {};
}

// A mistyped command looks like a source that does not exist.
std::string command_hint(const MountArguments& arguments) {
  const std::string& source = arguments.config.source;
  if (source.find('/') != std::string::npos || access(source.c_str(), F_OK) == 0) return {};
  std::vector<std::string_view> names;
  for (const Command& command : commands()) names.push_back(command.name);
  const std::string_view nearest = nearest_name(source, names);
  return nearest.empty() ? "" : fmt::format("; did you mean the command '{}'?", nearest);
}

// The command's default is on. Rings cannot be recovered, so who asks for them and says nothing
// else has them.
bool recovers_by_default(const MountArguments& arguments) {
  return arguments.config.transport != TransportMode::uring &&
         std::none_of(arguments.options.begin(), arguments.options.end(),
                      [](const auto& option) { return option.first == "recover"; });
}

constexpr const char* kLogDirectory = "log_directory";

Outcome<void> configure(Filesystem& filesystem, const MountArguments& parsed, Arguments arguments) {
  for (const auto& [name, value] : parsed.options) {
    if (auto set = filesystem.configure(name, value); !set) return set;
  }
  if (recovers_by_default(parsed)) (void)filesystem.configure("recover", "on");  // is an option
  if (parsed.debug) filesystem.trace_requests(true);
  filesystem.dedicate_process(true);
  // Only the process that was started may speak.
  filesystem.notify_service_manager(parsed.foreground);
  std::vector<std::string> words{"passthroughfs", "mount"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::map<std::string, int> descriptors;
  if (log_directory() >= 0) descriptors.emplace(kLogDirectory, log_directory());
  filesystem.offer_upgrade(std::move(words), std::move(descriptors));
  return {};
}

// From here on the mount serves; it ends by an unmount or by a signal.
int run_until_end(Filesystem& filesystem, const MountArguments& parsed) {
  std::optional<SignalThread> signals;
  if (!filesystem.is_guarded()) {
    signals.emplace(
        [&filesystem] {
          auto stopped = filesystem.stop();
          if (stopped) return;
          log_error("{}", stopped.error().message);
          // Detached, but open files keep the connection, which this process cannot cut in another
          // way (no fusectl) than by going away.
          if (stopped.error().code == EBUSY) _exit(kExitOk);
        },
        parsed.log_file.empty() ? std::function<void()>() : reopen_log);
  }
  if (auto served = filesystem.run(); !served) {
    log_error("{}", served.error().message);
    return kExitFailure;
  }
  log_info("{} is unmounted", parsed.config.mountpoint);
  return kExitOk;
}

// In the place of a program that has served the mount so far.
int go_on(const MountArguments& parsed, Arguments arguments, const Inheritance& from) {
  const int directory = from.handover.descriptor(kLogDirectory).value_or(-1);
  if (auto logging = set_up_log(parsed, directory); !logging) {
    report(logging.error().message);
    return kExitFailure;
  }
  block_signals();
  Filesystem filesystem(parsed.config.source, parsed.config.mountpoint);
  if (auto configured = configure(filesystem, parsed, arguments); !configured) {
    report(configured.error().message);
    return kExitUsage;
  }
  if (auto gone_on = filesystem.go_on(from); !gone_on) {
    log_error("{}", gone_on.error().message);
    return kExitFailure;
  }
  log_info("passthroughfs {} goes on serving {} at {}", PASSTHROUGHFS_VERSION, parsed.config.source,
           parsed.config.mountpoint);
  return run_until_end(filesystem, parsed);
}

}  // namespace

int run_mount(Arguments arguments) {
  const auto inherited = inherit();
  auto parsed = parse_mount_arguments(arguments);
  if (!parsed) {
    report(parsed.error().message);
    return kExitUsage;
  }
  if (inherited) {
    if (*inherited) return go_on(*parsed, arguments, **inherited);
    report("what another program has handed over is not understood");
    return kExitFailure;
  }
  if (parsed->help) return print(mount_help()) ? kExitOk : kExitFailure;
  if (parsed->version) {
    return print("passthroughfs " PASSTHROUGHFS_VERSION "\n") ? kExitOk : kExitFailure;
  }
  // Before anything of ours is open.
  if (!parsed->foreground) Daemonizer::close_inherited();
  if (auto logging = set_up_log(*parsed); !logging) {
    report(logging.error().message);
    return kExitFailure;
  }

  if (rejoin_service(*parsed)) return kExitOk;
  block_signals();
  Daemonizer daemonizer;
  if (!parsed->foreground && !daemonizer.fork_away()) {
    report("cannot fork: " + Errno::last().to_string());
    return kExitFailure;
  }

  Filesystem filesystem(parsed->config.source, parsed->config.mountpoint);
  if (auto configured = configure(filesystem, *parsed, arguments); !configured) {
    daemonizer.failed(configured.error().message, kExitUsage);
    return kExitUsage;
  }
  if (auto mounted = filesystem.mount(); !mounted) {
    daemonizer.failed(mounted.error().message + command_hint(*parsed), kExitFailure);
    return kExitFailure;
  }
  daemonizer.ready();
  log_info("serving {} at {}", parsed->config.source, parsed->config.mountpoint);
  return run_until_end(filesystem, *parsed);
}

}  // namespace passthroughfs
