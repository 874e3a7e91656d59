// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"

#include <fmt/core.h>

#include <array>

#include "cli/mount_arguments.h"

namespace passthroughfs {
namespace {

constexpr auto kCommands = std::to_array<Command>({
    {"mount", run_mount, "SOURCE MOUNTPOINT", "mount a directory (the word can be left out)"},
    {"umount", run_umount, "MOUNTPOINT", "unmount, and wait for the daemon's end"},
    {"handles", run_handles, "MOUNTPOINT", "show the open files"},
    {"stats", run_stats, "MOUNTPOINT", "show what was done, how fast, and what is held"},
    {"top", run_top, "MOUNTPOINT", "the same, live"},
    {"doctor", run_doctor, "", "show what this kernel and this user can do"},
    {"checkpoint", run_checkpoint, "MOUNTPOINT", "print a token that names this moment"},
    {"dirty", run_dirty, "MOUNTPOINT", "show what has changed since a token"},
    {"watch", run_watch, "MOUNTPOINT", "show changes as they happen"},
    {"fsmonitor", run_fsmonitor, "VERSION TOKEN", "tell git what has changed (core.fsmonitor)"},
    {"upgrade", run_upgrade, "MOUNTPOINT", "let this program serve a running mount"},
});

}  // namespace

std::span<const Command> commands() noexcept { return kCommands; }

std::string general_help() {
  std::string text = mount_help();
  text += "\nCommands (each has its own --help):\n";
  for (const Command& command : kCommands) {
    if (command.run == nullptr) continue;
    text += fmt::format("  {:36}{}\n", fmt::format("{} {}", command.name, command.arguments),
                        command.summary);
  }
  return text;
}

}  // namespace passthroughfs
